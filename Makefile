# SPDX-License-Identifier: GPL-2.0-only
# `make help` lists what is supported. Variables on the command line:
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

PYTHON ?= python3
O      ?= out
JOBS   ?= auto
VENV   := .venv/bin/python

# Byte code goes beside the environment, not into the tree, and is kept even where the
# surroundings switch it off: starting from source costs seconds in each worker.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help check lab bench mutants agree test vectors-check lint clean report venv venv-dev vendor

help: ## list the commands
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

venv:
	@$(PYTHON) tools/venv.py check

venv-dev:
	@$(PYTHON) tools/venv.py check dev

check: venv ## ask KVM: the suite on this host and on every simulated target
	@$(VENV) -m tools.check --jobs "$(JOBS)" --out "$(O)" $(if $(ALL),--all) $(foreach t,$(TARGET),--target "$(t)") \
	    $(if $(K),-k "$(K)") -- $(ARGS)

lab: venv ## ask stock kernels booted in QEMU: KERNEL=Image MODULES=dir for your own build
	@$(VENV) -m tools.lab --jobs "$(JOBS)" --out "$(O)" $(if $(ALL),--all) $(foreach t,$(TARGET),--target "$(t)") \
	    $(if $(KERNEL),--kernel "$(KERNEL)") $(if $(MODULES),--modules "$(MODULES)") \
	    $(if $(K),-k "$(K)") $(LAB) -- $(ARGS)

bench: venv ## measure what counter reads and exits cost, with tables and CSV
	@$(VENV) -m tools.bench --out "$(if $(filter file,$(origin O)),$(O)/benchmarks,$(O))" \
	    -n $(or $(N),10000) $(if $(CSV),-o "$(CSV)") \
	    $(foreach t,$(TARGET),--target "$(t)") $(if $(K),-k "$(K)") -- $(ARGS)

mutants: venv ## inject every defect into the simulator and see which claims notice it
	@$(VENV) -m tools.mutants --out "$(O)" $(ARGS)

agree: venv-dev ## play generated scripts on this KVM and on a simulated twin: ARGS="--steps 2000 --seed 1"
	@$(VENV) -m tools.agree --out "$(O)/agreement" $(foreach t,$(TARGET),--target "$(t)") $(ARGS)

report: venv ## merge journals: FROM="a/journal.jsonl b/journal.jsonl" BASELINE=old/journal.jsonl
	@$(VENV) -m tools.report --out "$(O)" $(if $(BASELINE),--baseline "$(BASELINE)") $(FROM)

test: venv-dev ## ask the harness about itself
	@$(VENV) -m pytest fixtures reports tools -n "$(JOBS)" --dist loadfile $(ARGS)

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
clean: ## remove what the commands made
	rm -rf .venv "$(O)" kvm_*.sh .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
endif
