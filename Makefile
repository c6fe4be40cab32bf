## hwprof: what make can do here. It needs Python 3.11, 3.12 or 3.13 with venv, and installs the rest under .venv/.
##
##   make profile FRAMEWORK=torch MODEL=resnet50   profile a workload; any setting of `hwprof run` upper-cased:
##        BATCH=8 EPOCHS=1 STEPS=5 DEVICE=cpu …    only those given on make's command line count
##   make sweep FRAMEWORK=torch,tf BATCH=8,32     measure every combination, and name the best batch; beside settings:
##        MODEL=cifar_cnn REPEATS=6..10 WIDTH=5%   MAX_MINUTES=30, ORDER_SEED=7, FILE=matrix.toml, DRY_RUN=1, RESUME=last
##   make study STUDY=devto_rakshath SCALE=smoke   run a published comparison again: short, full; settings as above;
##        MAX_MINUTES=20 VERIFY=1 RESUME=last      REPEATS=3, EXPERIMENT=train, ORDER_SEED=7; without STUDY: which there are
##   make studies                                  all five, one after the other, at SCALE=smoke unless told otherwise
##   make verify MODEL=resnet50                    show that the matched model is the same in every framework:
##        FRAMEWORKS=tf,jax FORCE=1                which to hold to PyTorch; anew where a verdict is kept
##   make verify-all                               all eight models, one table at the end
##   make overhead MODEL=resnet50                  what each option of the profilers and samplers costs:
##        FRAMEWORK=torch,tf REPEATS=5 STEPS=20    in which, by how many processes of how many steps each
##   make report RUN=last                         one HTML file that opens offline; OUTPUT=report.html, or RUN=SWEEP
##   make tensorboard                              show the recorded runs in TensorBoard; RUN=last, PORT=6007
##   make doctor                                   what works on this machine, and what to do about the rest
##   make images                                   build the image of every framework and variant: cpu, cuda
##   make image FRAMEWORK=torch VARIANT=cpu        build one; RUNTIME=podman for podman's, PROGRESS=1 to watch
##   make test                                     every test; runs frameworks, takes minutes
##   make lint                                     style, types, layers and the Dockerfile
##   make check                                    lint and the quick tests: before every commit
##   make fuzz MINUTES=10                          break the importers by chance: coverage-guided, on Linux x86-64
##   make docs                                     the reference pages of docs/ anew from the code
##   make lock                                     pins and hashes anew from containers/locks/*.in
##   make clean                                    remove environments and caches; recorded runs stay
##
##   PYTHON=/path/to/python3.12   the Python to install with (by default the first that fits)
##   RUNS=folder                  where runs lie (by default runs/)

.PHONY: help profile sweep study studies verify verify-all overhead report tensorboard doctor images image test lint check fuzz docs lock clean setup setup-dev
.DEFAULT_GOAL := help

BIN := .venv/toolkit/bin

# Text as one word of the shell, whatever it holds but line breaks: those end a recipe's line.
define LINE_BREAK


endef
quoted = '$(subst ','\'',$(if $(findstring $(LINE_BREAK),$1),$(error A value on make's command line holds a line break),$1))'
lower = $(shell printf %s $(call quoted,$1) | tr '[:upper:]' '[:lower:]')

# Only what stands on the command line, never the environment: someone's exported BATCH must not change a run.
given = $(if $(findstring command line,$(origin $1)),$(value $1))
GIVEN := $(foreach name,$(sort $(.VARIABLES)),$(if $(findstring command line,$(origin $(name))),$(name)))
SETTINGS = $(foreach name,$(filter-out PYTHON RUNS,$(GIVEN)),--set $(call quoted,$(call lower,$(name))=$(value $(name))))
IMAGE_OPTIONS = $(if $(call given,RUNTIME),--runtime $(call quoted,$(value RUNTIME))) $(if $(call given,PROGRESS),--progress)
needed = $(or $(call given,$1),$(error Give $1 on make's command line, as in: make $2))
FORCED = $(filter-out 0 no false,$(call given,FORCE))
VERIFY_OPTIONS = $(if $(call given,FRAMEWORKS),--frameworks $(call quoted,$(value FRAMEWORKS))) $(if $(FORCED),--force) \
  $(foreach name,$(filter-out PYTHON RUNS MODEL FRAMEWORKS FORCE,$(GIVEN)),--set $(call quoted,$(call lower,$(name))=$(value $(name))))
SWEEP_VALUES := REPEATS WIDTH MAX_MINUTES ORDER_SEED RESUME
SWEEP_OPTIONS = $(foreach name,$(filter $(SWEEP_VALUES),$(GIVEN)),--$(subst _,-,$(call lower,$(name))) $(call quoted,$(value $(name)))) \
  $(if $(filter-out 0 no false,$(call given,DRY_RUN)),--dry-run) \
  $(foreach name,$(filter-out PYTHON RUNS FILE DRY_RUN $(SWEEP_VALUES),$(GIVEN)),--set $(call quoted,$(call lower,$(name))=$(value $(name)))) \
  $(if $(call given,FILE),-- $(call quoted,$(value FILE)))
# What is no option of the command is a setting of the workload.
STUDY_VALUES := SCALE EXPERIMENT REPEATS MAX_MINUTES ORDER_SEED RESUME
STUDY_OPTIONS = $(foreach name,$(filter $(STUDY_VALUES),$(GIVEN)),--$(subst _,-,$(call lower,$(name))) $(call quoted,$(value $(name)))) \
  $(if $(filter-out 0 no false,$(call given,VERIFY)),--verify) $(if $(FORCED),--force) \
  $(foreach name,$(filter-out PYTHON RUNS STUDY VERIFY FORCE $(STUDY_VALUES),$(GIVEN)),--set $(call quoted,$(call lower,$(name))=$(value $(name))))
OVERHEAD_OPTIONS := FRAMEWORK MODEL OPTIONS STEPS REPEATS ORDER_SEED
OVERHEAD = $(foreach name,$(filter $(OVERHEAD_OPTIONS),$(GIVEN)),--$(subst _,-,$(call lower,$(name))) $(call quoted,$(value $(name)))) \
  $(foreach name,$(filter-out PYTHON RUNS $(OVERHEAD_OPTIONS),$(GIVEN)),--set $(call quoted,$(call lower,$(name))=$(value $(name))))
IMAGE_EXAMPLE := image FRAMEWORK=torch VARIANT=cpu
RUNS_OPTION = $(if $(call given,RUNS),--runs $(call quoted,$(value RUNS)))

# The Python of the environment that is there comes first, so that a plain make does not change it.
PYTHONS := $(BIN)/python python3.11 python3.12 python3.13 python3
CANDIDATES = $(if $(call given,PYTHON),$(call quoted,$(value PYTHON)),$(PYTHONS))

# $(call make-environment,NAME): the environment containers/bootstrap.py knows by that name, unless it is whole already.
define make-environment
@bare=; for python in $(CANDIDATES); do \
  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 || continue; \
  if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then exec "$$python" -m containers.bootstrap $1; fi; \
  bare="$$python"; \
done; \
if [ -n "$$bare" ]; then \
  echo "hwprof: $$bare lacks venv and ensurepip. Install its venv package (Debian: apt-get install python3-venv)." >&2; \
else \
  echo "hwprof: no Python 3.11, 3.12 or 3.13 among:" $(CANDIDATES)". Install one, or name one: make PYTHON=/path/to/python3." >&2; \
fi; exit 1
endef

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

setup:
	$(call make-environment,toolkit)

setup-dev:
	$(call make-environment,dev)

profile: setup
	@$(BIN)/hwprof run $(RUNS_OPTION) $(SETTINGS)

sweep: setup
	@$(BIN)/hwprof sweep $(RUNS_OPTION) $(SWEEP_OPTIONS)

study: setup
	@$(BIN)/hwprof study $(RUNS_OPTION) $(STUDY_OPTIONS) $(if $(call given,STUDY),-- $(call quoted,$(value STUDY)),$(if $(call given,RESUME),,--list))

# One that ends badly does not keep the next from its turn.
studies: setup
	@failed=; for name in $(basename $(notdir $(wildcard profiles/studies/*.toml))); do \
	  $(BIN)/hwprof study $(RUNS_OPTION) $(STUDY_OPTIONS) -- $$name || failed="$$failed $$name"; \
	done; [ -z "$$failed" ] || { echo "make studies: not well:$$failed" >&2; exit 1; }

verify: setup
	@$(BIN)/hwprof verify $(VERIFY_OPTIONS) -- $(call quoted,$(call needed,MODEL,verify MODEL=resnet50))

verify-all: setup
	@$(BIN)/hwprof verify $(VERIFY_OPTIONS) -- all

overhead: setup
	@$(BIN)/hwprof overhead $(OVERHEAD)

report: setup
	@$(BIN)/hwprof report $(RUNS_OPTION) $(if $(call given,OUTPUT),--output $(call quoted,$(value OUTPUT))) $(if $(call given,RUN),-- $(call quoted,$(value RUN)))

tensorboard: setup
	@$(BIN)/hwprof tensorboard $(RUNS_OPTION) $(if $(call given,PORT),--port $(call quoted,$(value PORT))) $(if $(call given,RUN),-- $(call quoted,$(value RUN)))

doctor: setup
	@$(BIN)/hwprof doctor $(RUNS_OPTION)

images: setup
	@$(BIN)/hwprof image $(IMAGE_OPTIONS)

image: setup
	@$(BIN)/hwprof image $(IMAGE_OPTIONS) -- $(call quoted,$(call needed,FRAMEWORK,$(IMAGE_EXAMPLE))-$(call needed,VARIANT,$(IMAGE_EXAMPLE)))

# A process of tests for each processor; tests that share what is slow to make run in one: tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n auto

test: setup-dev
	@$(PYTEST)

lint: setup-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint containers/Dockerfile

check: lint
	@$(PYTEST) -m 'not e2e' --hypothesis-profile=quick

fuzz:
	$(call make-environment,fuzz)
	@nice .venv/fuzz/bin/python -m tests.fuzz $(call quoted,$(or $(call given,MINUTES),10))

docs: setup-dev
	@$(BIN)/python -m toolkit.reports.reference

lock:
	$(call make-environment,lock)
	@.venv/lock/bin/python -m containers.lock
	@.venv/lock/bin/python -m containers.derived

clean:
	rm -rf .fuzz .venv *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
