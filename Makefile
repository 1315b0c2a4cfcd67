# SPDX-License-Identifier: GPL-2.0-only
# `make help` lists what is supported. Variables, which come from the command line only:
#   TARGET="host sim-arm64-nvhe"   only these targets (default: host if usable, all simulated)
#   K="physical and not series"    only tests that match, as pytest -k
#   ALL=1                          `make check` and `make lab` with the claims marked thorough, too
#   O=folder                       where reports go (default out/)
#   JOBS=4                         worker processes (default: one per core)
#   KERNEL=Image MODULES=dir       `make lab` with a build of your own in place of packages
#   LAB="--matrix"                 further options of `make lab`; LAB=--help lists them
#   N=100000                       measurements in each series of `make bench` (default 10000)
#   CSV=folder                     all raw measurements of `make bench` as CSV files
#   ARGS="..."                     further pytest arguments
#   INSTALL_PATH=dir               where `make install` puts the tree that run_kselftest.sh runs
#   VENDOR=no                      `make run_tests`, `make install` without pytest going along
#   T=kvm_x86_set_clock.sh         only these programs of `make run_tests`
#   PYTHON=python3.12              which Python .venv is made of (default python3)


# The name of this file as make was given it. Several words only where the path has spaces.
MAKEFILE := $(subst :list:,,$(subst :list: ,,:list:$(MAKEFILE_LIST)))

ifneq ($(findstring /,$(MAKEFILE)),)

# Started from elsewhere (make -f path/Makefile): again, in the checkout. Paths start there.
export KVMTESTS_MAKEFILE := $(MAKEFILE)
GOALS := $(or $(MAKECMDGOALS),help)
.PHONY: $(GOALS)
$(GOALS):
	@exec $(MAKE) -C "$${KVMTESTS_MAKEFILE%/*}" -f "$${KVMTESTS_MAKEFILE##*/}" $@

else

PYTHON := python3
export PYTHON
VENV   := .venv/bin/python

# Byte code goes beside the environment, not into the tree, and is kept even where the
# surroundings switch it off: starting from source costs seconds in each worker.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help check lab bench mutants agree test vectors-check lint clean report venv venv-dev vendor

help: ## list the commands
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  make \1|\2/p' Makefile tools/kselftest.mk | column -t -s '|'

venv:
	@exec "$$PYTHON" tools/venv.py check

venv-dev:
	@exec "$$PYTHON" tools/venv.py check dev

check: venv ## ask KVM: the suite on this host and on every simulated target
lab: venv ## ask stock kernels booted in QEMU: KERNEL=Image MODULES=dir for your own build
bench: venv ## measure what counter reads and exits cost, with tables and CSV
mutants: venv ## inject every defect into the simulator and see which claims notice it
agree: venv-dev ## play generated scripts on this KVM and on a simulated twin: ARGS="--steps 2000 --seed 1"
report: venv ## merge journals: FROM="a/journal.jsonl b/journal.jsonl" BASELINE=old/journal.jsonl
test: venv-dev ## ask the harness about itself

# What the variables mean is tools/make.py's matter: they reach it through the environment, where
# make puts what its command line sets, so that no shell ever reads a value. exec, so that a
# signal which make hands on reaches the command and not a shell.
check lab bench mutants agree report test:
	@exec $(VENV) -m tools.make $@

vectors-check: venv ## migration vectors for other VMMs: make them, and compute them again in C and in Rust
	@mkdir -p "$(O)"
	@$(VENV) -m tools.vectors >"$(O)/vectors.json.new"
	@mv "$(O)/vectors.json.new" "$(O)/vectors.json"
	@$(MAKE) -C contrib/vectors -s -j 2 --output-sync check VECTORS="$(abspath $(O))/vectors.json" \
	    BUILD="$(abspath $(O))"

lint: venv-dev ## ruff and mypy --strict
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy .

include tools/kselftest.mk

# In a kernel tree O is the whole build's, and clean is lib.mk's.
ifeq ($(LIB_MK),)
clean: ## remove what the commands made, and nothing else
	@exec "$$PYTHON" -B -m tools.make $@
endif

VARIABLES := ALL ARGS BASELINE CSV FORMAT FROM INSTALL_PATH JOBS K KERNEL LAB MODULES N PYTHON T TARGET VENDOR
VARIABLES += $(if $(LIB_MK),,O)
export KVMTESTS_GIVEN := $(foreach name,$(VARIABLES),$(if $(call given,$(name)),$(name)))

endif
