# Two commands do everything on a machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := deploy/requirements/dev.txt
# The stamp carries the lock's hash, so that a changed lock makes a new environment and an unchanged one costs nothing.
STAMP := $(VENV)/.installed-$(shell cksum < $(LOCK) | cut -d' ' -f1)
WITHOUT_NODE := $(filter 0,$(NODE))
# SIGINT, upon which pytest still tells what there was and takes its clusters down, for which it has a minute.
CHAOS_SECONDS ?= 1800
CHAOS_BOUND := $(if $(CHAOS_MINUTES),,timeout --signal=INT --kill-after=60 $(CHAOS_SECONDS))

.DEFAULT_GOAL := help
.PHONY: help build up down demo test e2e chaos check unit fuzz bench crd audit lock clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): $(LOCK)
	@echo "==> Python packages into $(VENV), from $(LOCK) (with hashes)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3.11")'
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(LOCK)
	@touch $@

up: $(STAMP)  ## start a real Kubernetes API server with its controllers here, and keep it (NODE=1: and a node)
	@$(BIN)/python -m tests.localcluster up $(if $(filter-out 0,$(NODE)),--node)

down: $(STAMP)  ## stop it and leave nothing behind
	@$(BIN)/python -m tests.localcluster down

demo: $(STAMP)  ## the main job, scene by scene; with pods on a node where one can run (NODE=0: without)
	@$(BIN)/python -m tests.localcluster demo $(if $(WITHOUT_NODE),--no-node)

check: $(STAMP)  ## ruff, mypy strict, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo

unit: $(STAMP)  ## the tests that need no cluster
	@$(BIN)/python -m pytest tests/unit -q

build: $(STAMP)  ## build the local cluster's programs, once: minutes, then cached outside the tree
	@$(BIN)/python -m tests.localcluster build

test: check  ## everything: check, unit and property tests, behaviour on a real API server
	@$(BIN)/python -m tests.localcluster build --cert-manager
	@$(BIN)/python -m pytest --ignore=tests/node --ignore=tests/e2e --ignore=tests/chaos --numprocesses=2 --dist=loadfile --durations=10

# Where no node can run this fails: tests that were not run must not look like tests that passed.
e2e: $(STAMP)  ## pulls on a real node, all programs as pods; needs root on Debian Linux (NODE=0: leave it out)
ifneq ($(WITHOUT_NODE),)
	@echo "make e2e: nothing was run, as NODE=0 asks for."
else
	@$(BIN)/python -m tests.localcluster able && $(BIN)/python -m tests.localcluster build
	@$(BIN)/python -m pytest tests/node tests/e2e --numprocesses=2 --dist=loadgroup --durations=10
endif

# Two workers: faults of the control plane beside those of the node (NODE=0: the former alone). The usual run is stopped
# after half an hour, with a table of what there was; where CHAOS_MINUTES is set, nothing but each test's own time limits it.
chaos: build  ## faults, ending in a table: what was lost, seconds to recover (CHAOS_SEED, CHAOS_MINUTES=15)
	@$(if $(WITHOUT_NODE),,$(BIN)/python -m tests.localcluster able)
	@$(CHAOS_BOUND) $(BIN)/python -m pytest tests/chaos/control $(if $(WITHOUT_NODE),,tests/chaos/node) --numprocesses=2 --dist=loadgroup --durations=10 \
	  || { status=$$?; [ $$status -ne 124 ] || echo "make chaos: stopped after $(CHAOS_SECONDS) s; what is not in the table was not tried."; exit $$status; }

fuzz: $(STAMP)  ## coverage-guided fuzzing of all that reads what others wrote, FUZZ_SECONDS=60 a target
	@$(BIN)/python -m tests.fuzz

bench: build  ## the figures of the README, with the limit measured in the same run
	@$(BIN)/python -m benchmarks

crd: $(STAMP)  ## write deploy/crd.yaml from the model
	@$(BIN)/python -m common.crd > deploy/crd.yaml

audit: $(STAMP)  ## ask a database of vulnerabilities about all locked packages; fails where it cannot be reached
	@$(BIN)/python -m deploy.audit

lock: $(STAMP)  ## write deploy/requirements/*.txt from pyproject.toml
	@for extra in webhook controller dev; do \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    --python-version 3.11 --extra $$extra pyproject.toml --no-emit-package registry-mirror -o deploy/requirements/$$extra.txt || exit 1; done
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.11 --group sbom -o deploy/requirements/sbom.txt

clean:  ## remove the virtual environment and caches (the build cache of the cluster is kept)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
