# Needs python3 (3.11 or later) with venv, and make. Every target sets up what it needs; after that, no network.
#   T=path     narrow `make test` to a file, a folder or a test
#   KEEP=1     leave the demo's exchange running
#   PY=python3.12   another interpreter for the virtual environment

PY ?= python3
VENV ?= .venv
# Workers of `make test`: two more than there are cores, since each of them waits for part of its time; each has a database.
N ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n > 14 ? 16 : n + 2)))
PYTHON = $(VENV)/bin/python
# Locks are complete and hashed, so nothing is resolved and no package may run a build script.
PIP_INSTALL = $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile \
	--only-binary :all:
SOURCES = referral_api tests examples bench
# Tests start hundreds of processes: without bytecode each of them compiles some thousand files again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check fix generate lock bench simulate faults histories machine interop mutate clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## One referral's whole life on this machine, with real keys and a real server (KEEP=1 leaves it running)
	@$(PYTHON) -m examples.demo $(if $(KEEP),--keep)

test: $(VENV)/.test ## All tests that need no network, without the long runs (T=path narrows)
	@$(PYTHON) -m pytest -q -n $(N) --dist worksteal -m "not bench and not interop" $(T)

check: $(VENV)/.check ## Format, lint, types, import contracts, locks, generated files
	@$(PYTHON) -m ruff format --check --quiet $(SOURCES)
	@$(PYTHON) -m ruff check --quiet $(SOURCES)
	@$(PYTHON) -m mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo --no-cache
	@$(PYTHON) -m pytest -q --no-header tests/rules/test_locks.py
	@$(PYTHON) -m referral_api.cli.generate --check

fix: $(VENV)/.check ## Format, and repair what the linter can repair
	@$(PYTHON) -m ruff check --fix --quiet $(SOURCES) || true
	@$(PYTHON) -m ruff format --quiet $(SOURCES)

generate: $(VENV)/.runtime ## Write openapi.yaml, schemas/ and the generated pages of docs/ again
	@$(PYTHON) -m referral_api.cli.generate

bench: $(VENV)/.test ## Measure speed against bare and naive twins (docs/performance.md)
	@$(PYTHON) -m bench

simulate: $(VENV)/.test ## Live through years of a hotline's traffic (REFERRAL_YEARS, REFERRAL_FACTOR, REFERRAL_SEED)
	@$(PYTHON) -m tests.simulation

faults: $(VENV)/.test ## Kill the server a thousand times, and at every statement (REFERRAL_KILLS=n for another number)
	@REFERRAL_KILLS=$${REFERRAL_KILLS:-1000} $(PYTHON) -m pytest -q -m faults $(or $(T),tests)

histories: $(VENV)/.test ## Fold ten thousand random histories of keys in three ways (REFERRAL_HISTORIES=n for another number)
	@REFERRAL_HISTORIES=$${REFERRAL_HISTORIES:-10000} $(PYTHON) -m pytest -q tests/client/test_key_histories.py

machine: $(VENV)/.test ## Let anybody do anything at any time, 50,000 steps against a model (REFERRAL_STEPS, REFERRAL_SEED)
	@REFERRAL_STEPS=$${REFERRAL_STEPS:-50000} $(PYTHON) -m pytest -q tests/lifetime/test_life_machine.py

interop: $(VENV)/.test ## Talk to other people's implementations (needs Node 20 or later, and npm once)
	@command -v npm >/dev/null || { echo "make interop needs Node 20 or later with npm" >&2; exit 1; }
	@cd tests/interop && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@$(PYTHON) -m pytest -q -m interop $(or $(T),tests)

mutate: $(VENV)/.test ## Remove what must not be removed, one thing at a time; a test must notice (M="word word" narrows)
	@$(PYTHON) tests/mutate.py $(M)

# The in-between locks build on each other, so that one version of a package serves all of them.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links $(UPGRADE)
lock: $(VENV)/.lock ## Pin all dependencies again (maintainers; UPGRADE=--upgrade takes newer versions)
	@$(COMPILE) locks/build.in -o locks/build.txt
	@$(COMPILE) locks/lock.in -o locks/lock.txt
	@$(COMPILE) pyproject.toml --extra server --extra postgres --extra s3 --extra notices --extra witness -o locks/runtime.txt
	@$(COMPILE) pyproject.toml -c locks/runtime.txt -o locks/client.txt
	@$(COMPILE) locks/runtime.txt locks/test.in -o locks/test.txt
	@$(COMPILE) locks/test.txt locks/check.in -o locks/check.txt

clean: ## Remove caches and build output (the virtual environment stays: remove .venv by hand)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	@rm -rf tests/interop/node_modules
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed, and '$(PY)' is not: sudo apt install python3, or make PY=python3.12" >&2; exit 1; }
	@$(PY) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing: sudo apt install python3-venv" >&2; exit 1; }
	@$(PY) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made locks/build.txt locks/runtime.txt pyproject.toml
	@echo "Setting up $(VENV): the program"
	@$(PIP_INSTALL) -r locks/build.txt -r locks/runtime.txt
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-index --no-deps --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime locks/test.txt
	@echo "Setting up $(VENV): the tests"
	@$(PIP_INSTALL) -r locks/test.txt
	@touch $@

$(VENV)/.check: $(VENV)/.test locks/check.txt
	@echo "Setting up $(VENV): the checks"
	@$(PIP_INSTALL) -r locks/check.txt
	@touch $@

$(VENV)/.lock: $(VENV)/.made locks/lock.txt
	@$(PIP_INSTALL) -r locks/lock.txt
	@touch $@
