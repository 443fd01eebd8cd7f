# `make demo` and `make test` need Python 3.11 and make only; they install the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest --numprocesses=2 --durations=10
# Tests of clusters and of the cache wait for half of their time: three workers keep two cores busy.
PYTEST_CLUSTER = $(BIN)/python -m pytest --numprocesses=3 --durations=10
# What the cache promises: each byte once, and verified. The rest of tests/cache belongs to make slow.
CACHE_TESTS := $(addprefix tests/cache/test_,content.py damage.py herd.py)
LOCK := deploy/requirements/dev.txt
# The stamp has the lock's checksum: a changed lock makes a new environment.
STAMP := $(VENV)/.installed-$(shell cksum < $(LOCK) | cut -d' ' -f1)
WITHOUT_NODE := $(filter 0,$(NODE))
# Outside the tree: mypy goes by the contents of files, so a new clone is checked in seconds.
export MYPY_CACHE_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/registry-mirror/mypy
# At SIGINT pytest prints its report and stops its clusters, within a minute.
CHAOS_SECONDS ?= 1800
CHAOS_BOUND := $(if $(CHAOS_MINUTES),,timeout --signal=INT --kill-after=60 $(CHAOS_SECONDS))

.DEFAULT_GOAL := help
.PHONY: help build up down demo test smoke slow e2e chaos verify check-node check unit fuzz bench bench-cache crd manifests plugin images release push audit lock docs docs-tables clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): $(LOCK)
	@echo "==> Python packages into $(VENV), from $(LOCK) (with hashes)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3.11")'
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(LOCK)
	@touch $@

up: $(STAMP)  ## start Kubernetes on this machine and keep it running (NODE=1: with a node; SYSTEM=1: with the system too; FAMILY=ipv6,ipv4: dual stack)
	@$(BIN)/python -m tests.localcluster up $(if $(filter-out 0,$(NODE)),--node) $(if $(filter-out 0,$(SYSTEM)),--system) $(if $(FAMILY),--family=$(FAMILY))

down: $(STAMP)  ## stop it and delete its files
	@$(BIN)/python -m tests.localcluster down

demo: $(STAMP)  ## show the system step by step, with pods if this machine can run a node (NODE=0: without)
	@$(BIN)/python -m tests.localcluster demo $(if $(WITHOUT_NODE),--no-node)

check: docs  ## run ruff, mypy, the import contracts and make docs
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.prose

docs: $(STAMP)  ## build the documents into .site/; a broken link is an error
	@$(BIN)/zensical build --clean --strict

docs-tables: $(STAMP)  ## write the generated documents
	@$(BIN)/python -m docs.generate

unit: $(STAMP)  ## run the tests that need no cluster
	@$(BIN)/python -m pytest tests/unit -q

build: $(STAMP)  ## build the local cluster's programs: minutes the first time, then cached
	@$(BIN)/python -m tests.localcluster build

test: check build  ## run checks, unit tests, property tests and tests on a real API server
	@$(PYTEST_CLUSTER) tests/unit tests/fuzz $(CACHE_TESTS) tests/cluster -m 'not slow' --dist=loadfile

smoke: check-node  ## test the system on a real node: install, pulls, uninstall (needs root on Debian)
ifneq ($(WITHOUT_NODE),)
	@echo "make smoke: NODE=0 leaves out all tests."
else
	@$(BIN)/python -m pytest tests/smoke tests/monitoring/test_rules.py --exitfirst --durations=10
endif

slow: $(STAMP)  ## run long tests: random input, faults on a real API server, the cache against a real upstream
	@HYPOTHESIS_PROFILE=random $(PYTEST) tests/unit tests/fuzz -m 'hypothesis or slow' --dist=loadfile
	@$(PYTEST_CLUSTER) tests/cache --dist=worksteal
	@$(BIN)/python -m tests.localcluster build --cert-manager
	@$(PYTEST_CLUSTER) tests/cluster -m slow --dist=loadfile

e2e: check-node  ## test pulls on a real node with all programs as pods (needs root on Debian)
ifneq ($(WITHOUT_NODE),)
	@echo "make e2e: NODE=0 leaves out all tests."
else
	@$(PYTEST) tests/node tests/e2e tests/monitoring --dist=loadgroup
endif

# One worker for faults of the control plane, one for those of the node. NODE=0 leaves out the latter.
# CHAOS_SECONDS bounds the run, unless CHAOS_MINUTES is set.
chaos: build check-node  ## inject faults; print losses and recovery times (CHAOS_SEED, CHAOS_MINUTES=15)
	@$(CHAOS_BOUND) $(PYTEST) tests/chaos/control $(if $(WITHOUT_NODE),,tests/chaos/node) --dist=loadgroup \
	  || { status=$$?; [ $$status -ne 124 ] || echo "make chaos: stopped after $(CHAOS_SECONDS) s; faults that are not in the table were not tried."; exit $$status; }

verify:  ## run test, smoke, slow, e2e and chaos
	@for target in test smoke slow e2e chaos; do $(MAKE) $$target || exit 1; done

# A machine that cannot run a node fails here: skipped tests would look like passed ones.
check-node: build
ifeq ($(WITHOUT_NODE),)
	@$(BIN)/python -m tests.localcluster check-node
endif

fuzz: $(STAMP)  ## fuzz parsers of webhook, controller and agent, FUZZ_SECONDS=60 per target
	@$(BIN)/python -m tests.fuzz

bench: build  ## run the benchmarks, with the limit measured in the same run
	@$(BIN)/python -m benchmarks

bench-cache: $(STAMP)  ## run the cache beside distribution, with the limit measured in the same run (15 minutes)
	@$(BIN)/python -m benchmarks.cache

crd: $(STAMP)  ## write the CRD of the chart and of deploy/ from the model
	@$(BIN)/python -m common.crd | tee deploy/crd.yaml > deploy/chart/files/crd.yaml

manifests: crd  ## render deploy/*.yaml and the overlays from deploy/chart (builds helm once, 4 minutes)
	@$(BIN)/python -m deploy.values_schema
	@$(BIN)/python -m deploy.manifests "$$($(BIN)/python -m tests.localcluster helm)"

# RELEASES is the address of the releases in the manifest for krew.
plugin: $(STAMP)  ## build kubectl registry-mirror into dist/, with archive and manifest for krew
	@$(BIN)/python -m deploy.plugin dist

images: $(STAMP)  ## build the images for amd64 and arm64 into dist/ (needs root on Debian)
	@$(BIN)/python -m deploy.images dist

release: $(STAMP)  ## make the files of a release in dist/: VERSION=1.2.3, and REGISTRY=host/path that will have the images
	@$(BIN)/python -m deploy.release "$(VERSION)" dist "$$($(BIN)/python -m tests.localcluster helm)" $(REGISTRY)

push:  ## push the images and the chart of dist/: VERSION=1.2.3 REGISTRY=host/path
	@for program in webhook controller hostess cache; do \
	  skopeo copy --all --preserve-digests $(PUSH_OPTIONS) oci:dist/$$program:$(VERSION) docker://$(REGISTRY)/registry-mirror/$$program:$(VERSION) || exit 1; done
	@"$$($(BIN)/python -m tests.localcluster helm)" push $(HELM_OPTIONS) dist/registry-mirror-$(VERSION).tgz oci://$(REGISTRY)/charts

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

clean:  ## delete the virtual environment and caches, not the build cache of the cluster
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache .site dist
