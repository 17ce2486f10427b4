# Needs git, make and Python 3.11 or newer; `setup` gets the rest. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
LOCK := tests/requirements.lock
# what the operator's image installs: the same versions, without what only tests and checks need
IMAGE_LOCK := deploy/requirements.lock
# names what is installed: the locked packages, and this project's own metadata
STAMP := $(VENV)/.installed-$(shell git hash-object $(LOCK) pyproject.toml | cut -c 1-16 | tr -d '\n')
# the tests that need nothing but Python
UNIT := $(wildcard tests/unit tests/property tests/statistics tests/explorer tests/golden)
PYTEST := $(BIN)/python -m pytest
TWO_LABS := --numprocesses=2 --dist=loadfile
TWO_PROCESSES := --numprocesses=2

# A cluster is used only if make's command line names it (`make e2e KUBECONFIG=…`), never because a shell exports one.
ifeq ($(origin KUBECONFIG),command line)
export KUBECONFIG
else
unexport KUBECONFIG
endif
# KEEP=1 leaves the demo running until it is stopped by hand
export KEEP

.PHONY: help setup demo test test-unit check e2e bench-analysis explore golden lab lock format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the locked packages (instant when it is there)
	@:

demo: lab ## watch a good and a bad release go through, in the lab (KEEP=1 leaves it running)
	$(BIN)/python -m e2e.demo

test: check test-unit lab ## everything that CI runs: check, test-unit, and all tests that need the lab
	@echo "==> tests in the lab, two labs at once"
	$(PYTEST) $(TWO_LABS) $(UNIT:%=--ignore=%)

test-unit: setup ## the tests that need nothing but Python (two to three minutes)
	@echo "==> unit and property tests, and the judge's statistics"
	$(PYTEST) $(TWO_PROCESSES) $(UNIT)

check: setup ## format, lint, types and the direction of imports
	@echo "==> ruff format"; $(BIN)/ruff format --check
	@echo "==> ruff check"; $(BIN)/ruff check
	@echo "==> mypy"; $(BIN)/mypy
	@echo "==> import-linter"; $(BIN)/lint-imports

e2e: setup ## the end-to-end tests, in the lab or in KUBECONFIG=… of this command line
ifeq ($(origin KUBECONFIG),command line)
	$(PYTEST) e2e --ignore=e2e/lab
else
	@$(MAKE) lab
	$(PYTEST) $(TWO_LABS) e2e
endif

bench-analysis: setup ## measure the judge on simulated worlds, and print its goals beside its figures (about 6 minutes)
	$(BIN)/python -m tests.worlds.bench

explore: setup ## look at more than 100,000 states of the engine, and find every planted bug (a few minutes)
	$(BIN)/python -m tests.explorer

golden: setup ## write anew what the engine decides in each story of tests/golden; look at the difference
	$(BIN)/python -m tests.golden --update

lab: setup ## install and build the lab's parts (minutes the first time, instant after)
	@echo "==> the lab's system packages"
	$(BIN)/python -m e2e.lab.system
	@echo "==> the lab's programs"
	$(BIN)/python -m e2e.lab.build

lock: setup ## resolve the newest packages that pyproject.toml allows into the locks
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --quiet --output-file $(LOCK)
	$(BIN)/uv pip compile pyproject.toml --constraint $(LOCK) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --quiet --output-file $(IMAGE_LOCK)
	@! grep -nE '[a-z]+://' $(LOCK) $(IMAGE_LOCK) || { echo "a lock names a host: see above" >&2; exit 1; }

format: setup ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean: ## remove .venv, caches and builds (the lab's programs stay in its own cache)
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------------------ setup
# PYTHON=… chooses the interpreter. Only wheels are taken, and nothing is resolved: what the lock does not name is not
# installed. The project itself is installed editable, built by the hatchling of the lock.

$(STAMP):
	@$(PICK_PYTHON); $(NEED_VENV); $(MAKE_VENV)
	@echo "==> packages of $(LOCK)"
	$(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
	  --require-hashes --no-deps --only-binary :all: --requirement $(LOCK)
	@echo "==> fluxcanary itself, editable"
	$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-*; touch $@

define PICK_PYTHON
python=; for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "No Python 3.11 or newer found. Install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; \
fi
endef

# Debian keeps ensurepip in a package of its own
define NEED_VENV
if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
  package=$$(basename "$$python")-venv; \
  if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
    echo "$$python has no venv module. Install it, on Debian and Ubuntu: sudo apt-get install $$package" >&2; exit 1; \
  fi; \
  echo "==> installing $$package"; \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$package"; \
fi
endef

define MAKE_VENV
if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
  echo "==> $(VENV) with $$("$$python" --version)"; \
  "$$python" -m venv --clear $(VENV); \
fi
endef
