# What people and continuous integration run. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup serve test nightly check format docs bench lock clean

BIN := .venv/bin
PYTHONS := python3.13 python3.12 python3.11 python3.14 python3
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
ARGS ?=
HOSPITALS ?= 30

help: ## List these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: .venv/.development ## Make .venv with everything that development needs

serve: .venv/.runtime ## Start the server (ARGS="--port 9090")
	@exec $(BIN)/fhirserver serve $(ARGS)

test: .venv/.development ## Run the tests (ARGS="-k history")
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

nightly: .venv/.development ## Compare what callers are shown with what they may see, with new seeds (HOSPITALS=30)
	@seeds=$$(shuf -i 1000-999999 -n $(HOSPITALS) | paste -sd,); \
	echo "again: FHIRSERVER_TEST_SEEDS=$$seeds $(BIN)/python -m pytest tests/equivalence"; \
	FHIRSERVER_TEST_SEEDS=$$seeds $(BIN)/python -m pytest -n auto tests/equivalence $(ARGS)

check: .venv/.development ## Check format, lint, types, layers and derived files; change nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	@$(BIN)/python conformance/generate.py --check || \
	  { [ $$? -eq 2 ] && [ -z "$${FHIRSERVER_TEST_COMPLETE:-}" ] && \
	  echo "not checked: the published definitions cannot be had"; }

format: .venv/.development ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.runtime ## Generate the reference pages
	@mkdir -p docs/reference
	$(BIN)/fhirserver settings --markdown > docs/reference/settings.md
	$(BIN)/python -m tests.db.consent.cases

bench: .venv/.development ## Measure this machine (ARGS="--help")
	@$(BIN)/python -m benchmarks $(ARGS)

lock: ## Resolve the dependencies again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove .venv and caches; the data in .data stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist

# The stamps say which lock is installed. The project itself is not installed: a path file makes it importable,
# so that neither a build backend nor a network is needed.

.venv/.development: requirements-dev.lock | $(BIN)/python
	$(INSTALL) -r $<
	@$(MAKE) --no-print-directory link
	@touch .venv/.runtime $@

.venv/.runtime: requirements.lock | $(BIN)/python
	$(INSTALL) -r $<
	@$(MAKE) --no-print-directory link
	@touch $@

.PHONY: link
link:
	@$(BIN)/python -c 'import os, sysconfig; from pathlib import Path; \
	  Path(sysconfig.get_path("purelib"), "fhirserver.pth").write_text(os.getcwd() + "\n")'
	@printf '#!/bin/sh\nexec "$$(dirname "$$(readlink -f "$$0")")/python" -m fhirserver "$$@"\n' > $(BIN)/fhirserver
	@chmod +x $(BIN)/fhirserver

$(BIN)/python:
	@for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec "$$candidate" -m venv --clear .venv; \
	  fi; \
	done; \
	echo "Python 3.11 or later with venv is needed (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1
