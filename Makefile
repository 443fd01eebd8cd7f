# Two commands do everything on a machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest --numprocesses=2 --durations=10
LOCK := deploy/requirements/dev.txt
# The stamp carries the lock's hash, so that a changed lock makes a new environment and an unchanged one costs nothing.
STAMP := $(VENV)/.installed-$(shell cksum < $(LOCK) | cut -d' ' -f1)
WITHOUT_NODE := $(filter 0,$(NODE))
# SIGINT, upon which pytest still tells what there was and takes its clusters down, for which it has a minute.
CHAOS_SECONDS ?= 1800
CHAOS_BOUND := $(if $(CHAOS_MINUTES),,timeout --signal=INT --kill-after=60 $(CHAOS_SECONDS))

.DEFAULT_GOAL := help
.PHONY: help build up down demo test smoke slow e2e chaos verify check-node check unit fuzz bench crd audit lock docs docs-tables clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

check: docs  ## ruff, mypy strict, import contracts, links of the documents
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo

docs: $(STAMP)  ## build the documents into .site/; a broken link is an error
	@$(BIN)/zensical build --clean --strict

docs-tables: $(STAMP)  ## write the generated documents
	@$(BIN)/python -m docs.generate

unit: $(STAMP)  ## the tests that need no cluster
	@$(BIN)/python -m pytest tests/unit -q

build: $(STAMP)  ## build the local cluster's programs, once: minutes, then cached outside the tree
	@$(BIN)/python -m tests.localcluster build

test: check build  ## checks, unit and property tests, behaviour on a real API server (about 7 minutes)
	@$(PYTEST) tests/unit tests/fuzz tests/cluster -m 'not slow' --dist=loadfile

smoke: check-node  ## the system on a real node: install, pull, faults, uninstall (about 3 minutes; needs root on Debian)
ifneq ($(WITHOUT_NODE),)
	@echo "make smoke: NODE=0 leaves out all tests."
else
	@$(BIN)/python -m pytest tests/smoke --exitfirst --durations=10
endif

slow: $(STAMP)  ## long tests: faults on a real API server, the cache against a real upstream
	@$(PYTEST) tests/cache --dist=load
	@$(BIN)/python -m tests.localcluster build --cert-manager
	@$(PYTEST) tests/cluster -m slow --dist=loadfile

e2e: check-node  ## pulls on a real node, all programs as pods (needs root on Debian)
ifneq ($(WITHOUT_NODE),)
	@echo "make e2e: NODE=0 leaves out all tests."
else
	@$(PYTEST) tests/node tests/e2e --dist=loadgroup
endif

# One worker for faults of the control plane, one for those of the node. NODE=0 leaves out the latter.
# CHAOS_SECONDS bounds the run, unless CHAOS_MINUTES is set.
chaos: build check-node  ## faults, with a table of losses and recovery times (CHAOS_SEED, CHAOS_MINUTES=15)
	@$(CHAOS_BOUND) $(PYTEST) tests/chaos/control $(if $(WITHOUT_NODE),,tests/chaos/node) --dist=loadgroup \
	  || { status=$$?; [ $$status -ne 124 ] || echo "make chaos: stopped after $(CHAOS_SECONDS) s; faults that are not in the table were not tried."; exit $$status; }

verify:  ## everything: test, smoke, slow, e2e, chaos
	@for target in test smoke slow e2e chaos; do $(MAKE) $$target || exit 1; done

# A machine that cannot run a node fails here: skipped tests would look like passed ones.
check-node: build
ifeq ($(WITHOUT_NODE),)
	@$(BIN)/python -m tests.localcluster check-node
endif

fuzz: $(STAMP)  ## coverage-guided fuzzing of all that reads what others wrote, FUZZ_SECONDS=60 a target
	@$(BIN)/python -m tests.fuzz

bench: build  ## the figures of the README, with the limit measured in the same run
	@$(BIN)/python -m benchmarks

crd: $(STAMP)  ## write deploy/crd.yaml from the model
	@$(BIN)/python -m common.crd > deploy/crd.yaml

# OSV, not pip-audit's default PyPI: a mirror of PyPI may omit the vulnerabilities.
audit: export PIP_AUDIT_VULNERABILITY_SERVICE ?= osv
audit: $(STAMP)  ## look up known vulnerabilities of all locked packages
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner=off $(patsubst %,--requirement=%,$(wildcard deploy/requirements/*.txt))

lock: $(STAMP)  ## write deploy/requirements/*.txt from pyproject.toml
	@for extra in webhook controller cache dev; do \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    --python-version 3.11 --extra $$extra pyproject.toml --no-emit-package registry-mirror -o deploy/requirements/$$extra.txt || exit 1; done
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.11 --group sbom -o deploy/requirements/sbom.txt

clean:  ## remove the virtual environment and caches (the build cache of the cluster is kept)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache .site
