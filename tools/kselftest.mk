# SPDX-License-Identifier: GPL-2.0-only
# The checkout as a directory of the kernel's selftests, and the same targets standing alone.
# docs/kselftest.md describes both ways.
#
# The programs are made, not kept: each is a copy of one script under the name of a module of
# kvmtests/, so there is no list that could become incomplete.

# Whether make's command line, and not the environment, set the variable $(1).
given = $(findstring command line,$(origin $(1)))

KVM_PROGRAMS := $(foreach module,$(sort $(wildcard kvmtests/*/test_*.py)),\
	$(subst /test_,_,$(patsubst kvmtests/%.py,kvm_%.sh,$(module))))

# Copied under the last part of its name, as the other folders are.
VENDORED := .venv/vendor

TEST_GEN_PROGS := $(KVM_PROGRAMS)
TEST_FILES := conftest.py pytest.ini fixtures kvmtests reports tools $(wildcard $(VENDORED))

# The directory may lie one level deeper (TARGETS=a/kvmtests). A link to a checkout is followed
# by make before it looks for "..": there only OUTPUT, which the selftests' Makefile passes, still
# has the name of the link.
LIB_MK := $(firstword $(wildcard ../lib.mk ../../lib.mk $(if $(call given,OUTPUT),$(dir $(OUTPUT))lib.mk)))

ifneq ($(LIB_MK),)

.DEFAULT_GOAL := all
MADE = $(addprefix $(OUTPUT)/,$(KVM_PROGRAMS))
EXTRA_CLEAN := .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
include $(LIB_MK)

# With O= lib.mk copies files only when it is started from the kernel's top Makefile.
.PHONY: next_to_programs
all: $(if $(filter-out $(realpath $(CURDIR)),$(realpath $(OUTPUT))),next_to_programs)
next_to_programs:
	@rsync -aq --copy-unsafe-links $(TEST_FILES) $(OUTPUT)/

else

.DEFAULT_GOAL := help
MADE := $(KVM_PROGRAMS)
COLLECTION := kvmtests
SHIPPED := $(if $(and $(call given,VENDOR),$(filter no,$(VENDOR))),,vendor)
# Only their names stand in recipes: the values come through the environment (Makefile).
FORMAT := .gz
export FORMAT INSTALL_PATH

.PHONY: all run_tests install gen_tar emit_tests

run_tests: all $(SHIPPED) ## test KVM as kselftest does: one program for each module, TAP
	@exec "$$PYTHON" -u -m tools.make $@ $(if $(and $(call given,T),$(T)),,$(KVM_PROGRAMS))

install: all $(SHIPPED) $(if $(call given,PROGRAMS),venv) ## a tree that runs anywhere: INSTALL_PATH=dir, then dir/run_kselftest.sh
	@$(if $(call given,INSTALL_PATH),,echo "make: set INSTALL_PATH to use install" >&2; exit 1)
	@mkdir -p -- "$$INSTALL_PATH/$(COLLECTION)"
	@tar -cf - --exclude=__pycache__ $(filter-out $(VENDORED),$(TEST_FILES)) \
	    settings config $(KVM_PROGRAMS) $(if $(SHIPPED),-C $(dir $(VENDORED)) $(notdir $(VENDORED))) | \
	    tar -xf - -C "$$INSTALL_PATH/$(COLLECTION)"
	@cp -- tools/run_kselftest.sh "$$INSTALL_PATH/"
	@$(MAKE) -s --no-print-directory emit_tests >"$$INSTALL_PATH/kselftest-list.txt"
	@$(if $(call given,PROGRAMS),exec $(VENV) -m tools.make $@)

gen_tar: ## the installed tree as INSTALL_PATH/kselftest-packages/kselftest.tar.gz (FORMAT=.xz)
gen_tar: INSTALL_PATH := kselftest_install
gen_tar:
	@$(MAKE) -s --no-print-directory install $(if $(call given,INSTALL_PATH),,INSTALL_PATH=$(INSTALL_PATH))
	@mkdir -p -- "$$INSTALL_PATH/kselftest-packages"
	@cd -- "$$INSTALL_PATH" && tar -caf "kselftest-packages/kselftest.tar$$FORMAT" \
	    --exclude=./kselftest-packages .
	@printf 'Created %s\n' "$$INSTALL_PATH/kselftest-packages/kselftest.tar$$FORMAT"

emit_tests:
	@printf '$(COLLECTION):%s\n' $(KVM_PROGRAMS)

all: ## make the programs of kselftest, kvm_*.sh

endif

# Also where the command line names one program and no TEST_GEN_PROGS, as netdev CI does.
all: $(MADE)

$(MADE): tools/kselftest_program.sh
	@install -m 755 $< $@

# The pure Python packages that the suite imports, for hosts that have only python3.
vendor: $(VENDORED)/.complete ## collect pytest and what it needs, for `make install` to copy

$(VENDORED)/.complete: requirements/check.txt tools/vendor.py | venv
	@$(VENV) -m tools.vendor $(VENDORED)
	@touch $@
