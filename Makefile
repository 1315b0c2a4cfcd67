# SPDX-License-Identifier: GPL-2.0-only
# `make help` lists what is supported. Variables, which come from the command line only:
#   TARGET="host sim-arm64-nvhe"   only these targets (default: host if usable, all simulated)
#   K="physical and not series"    only tests that match, as pytest -k
#   ALL=1                          `make check` and `make lab` also with the claims marked thorough, `make test`
#                                  also with the tests that start whole runs, boot, or build
#   O=folder                       where reports go (default out/)
#   JOBS=4                         worker processes (default: one per core, one more where claims or tests
#                                  wait, or none for a short run)
#   KERNEL=Image MODULES=dir       `make lab` with a build of your own in place of packages
#   PARAMS="kvm_amd.npt=0"         `make lab` with these parameters of KVM on every lab host
#   LAB="--matrix"                 further options of `make lab`; LAB=--help lists them
#   ENV=lab.yaml RACK="--board a"  `make rack` on boards of this environment of labgrid, and further options
#   N=100000                       samples of each benchmark of `make bench` (default 10000)
#   N=3                            rounds of `make speed` (default 5)
#   N=2000 LOAD=4                  runs of `make repeat` (default 50), busy processes per processor (default 0)
#   CSV=folder                     all samples of `make bench` as CSV files
#   ARGS="..."                     further pytest arguments; for `make report` those of tools.report
#   INSTALL_PATH=dir               where `make install` puts the tree that run_kselftest.sh runs
#   PROGRAMS="NODEID repro.c"      `make install` also with these claims as C programs, recorded on TARGET=
#   CC=aarch64-linux-gnu-gcc       the compiler of those programs (default cc)
#   VENDOR=no                      `make run_tests`, `make install` without a copy of pytest
#   T=kvm_x86_set_clock.sh         only these programs of `make run_tests`
#   PYTHON=python3.12              the Python that .venv is made from (default python3)


# The name of this file as make was given it. Several words only where the path has spaces.
MAKEFILE := $(subst :list:,,$(subst :list: ,,:list:$(MAKEFILE_LIST)))

ifneq ($(findstring /,$(MAKEFILE)),)

# Started from elsewhere (make -f path/Makefile): start again in the checkout, where paths begin.
export KVMTESTS_MAKEFILE := $(MAKEFILE)
GOALS := $(or $(MAKECMDGOALS),help)
.PHONY: $(GOALS)
$(GOALS):
	@exec $(MAKE) -C "$${KVMTESTS_MAKEFILE%/*}" -f "$${KVMTESTS_MAKEFILE##*/}" $@

else

PYTHON := python3
export PYTHON
VENV   := .venv/bin/python

# Byte code goes into the virtual environment's folder, not into the tree, and is written even if
# PYTHONDONTWRITEBYTECODE is set outside: starting from source costs seconds in each worker.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help check lab bench speed defects mutants agree repeat test vectors-check precheck lint clean report
.PHONY: venv venv-dev vendor bundle rack

help: ## list the commands
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  make \1|\2/p' Makefile tools/kselftest.mk | column -t -s '|'

venv:
	@exec "$$PYTHON" tools/venv.py check

venv-dev:
	@exec "$$PYTHON" tools/venv.py check dev

check: venv ## test KVM: the suite on this host and on every simulated target
lab: venv ## test stock kernels booted in QEMU: KERNEL=Image MODULES=dir for your own build
bench: venv ## measure what counter reads and exits cost, with tables and CSV
speed: venv ## measure what this suite itself costs, as ratios, and say which have grown
defects: venv ## inject every defect into the simulator and see which claims notice it
mutants: venv
agree: venv-dev ## play generated scripts on this KVM and on a simulated counterpart: ARGS="--steps 2000 --seed 1"
repeat: venv ## run the claims N= times, and count how often each fails
report: venv ## merge journals: FROM="a/journal.jsonl b/journal.jsonl" BASELINE=old/journal.jsonl
rack: venv ## test the boards of a rack, all at once: ENV=lab.yaml names labgrid's environment
bundle: venv ## one tar with suite, packages and lab, for computers without a network: TARGET= chooses lab hosts
vectors-check: venv ## migration vectors for other VMMs: write them, and compute them again in C and in Rust
test: venv-dev ## test the harness itself: ALL=1 also by whole runs, boots and builds, as CI does

# Needs nothing but Python: no environment, and no network.
precheck: ## build kvmtests-precheck, a check for a fleet in one file
	@exec "$$PYTHON" -B -m tools.make $@

# tools/make.py knows what the variables mean. They reach it through the environment, where make
# puts what its command line sets, so that no shell ever reads a value. exec, so that a signal that
# make passes on reaches the command and not a shell.
check lab bench speed defects mutants agree repeat report vectors-check bundle test:
	@exec $(VENV) -m tools.make $@

# labgrid is not installed for a command line that names no boards.
rack:
	@$(if $(call given,ENV)$(call given,RACK),,echo 'make rack: ENV names no environment of labgrid, as in ENV=lab.yaml.' >&2; exit 2)
	@"$$PYTHON" tools/venv.py --into .venv/rack $@
	@exec $(VENV) -m tools.make $@

lint: venv-dev ## ruff and mypy --strict
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy .

include tools/kselftest.mk

# In a kernel tree O belongs to the whole build, and lib.mk has clean.
ifeq ($(LIB_MK),)
clean: ## remove what the commands made, and nothing else
	@exec "$$PYTHON" -B -m tools.make $@
endif

VARIABLES := ALL ARGS BAD BASELINE CC CSV ENV FORMAT FROM GOOD INSTALL_PATH JOBS K KERNEL LAB LOAD MODULES N PARAMS
VARIABLES += PROGRAMS PYTHON RACK T TARGET VENDOR
VARIABLES += $(if $(LIB_MK),,O)
export KVMTESTS_GIVEN := $(foreach name,$(VARIABLES),$(if $(call given,$(name)),$(name)))

endif
