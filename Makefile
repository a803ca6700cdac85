# Everything sets itself up: a virtual environment in .venv, made from pyproject.toml and constraints.txt.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo run test test-fast check generators golden bench-ledger bench-midnight clean
help: ## Say what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## Thirty days of rewards, paid by real workflows, in a ledger that proves itself
	@$(BIN)/python starter.py demo --movements examples/transactions.csv --program examples/program.toml

run: $(VENV)/installed ## A whole installation: the pages, Temporal with its web UI, the ledger, a worker; Ctrl-C stops it
	@$(BIN)/python worker.py --dev --program program.toml --samples

test: $(VENV)/installed ## Every test
	@$(BIN)/python -m pytest --numprocesses 4 --dist worksteal

# What starts processes of its own, and what takes longest, is left to `make test`.
LEFT := test_ledger_machine test_repeats test_stress database/test_migrations database/test_opening imports/test_long_imports
FAST := tests/test_rooms.py tests/staking tests/contract tests/ledger $(foreach name,$(LEFT),--ignore tests/ledger/$(name).py)

test-fast: $(VENV)/installed ## The rooms, the rules, and the ledger on SQLite alone: within a minute
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(FAST) -k 'not postgresql'

check: $(VENV)/checkers ## Lint and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

generators: $(VENV)/generators/made ## What makes clients of our OpenAPI in Python and, with Node, TypeScript: their tests need it

golden: $(VENV)/installed ## Record golden histories of the stories that have another shape than before
	@PYTHONPATH=tests $(BIN)/python -m histories.record

bench-ledger: $(VENV)/installed ## What a user's day costs in the ledger, on both databases, small and large
	@$(BIN)/python -m benchmarks.ledger

bench-midnight: $(VENV)/bench ## What a user's day costs when all users wake at one instant, beside Temporal's own cost and DBOS
	@$(BIN)/python -m benchmarks.midnight

clean: ## Remove the virtual environment and caches; an installation's data stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Setting up $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

$(VENV)/checkers: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,check,bench]'
	@touch $@

# An environment of its own, since it needs other versions than the service.
$(VENV)/generators/made: tests/web/generated/package.json Makefile | $(VENV)/installed
	@$(BIN)/python -m venv $(VENV)/generators
	@$(VENV)/generators/bin/python -m pip install --quiet --disable-pip-version-check openapi-python-client==0.29.1
	@if command -v npm >/dev/null; then \
		cp tests/web/generated/package.json $(VENV)/generators && \
		npm install --silent --no-audit --no-fund --no-package-lock --prefix $(VENV)/generators; fi
	@touch $@

$(VENV)/bench: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,bench]'
	@touch $@
