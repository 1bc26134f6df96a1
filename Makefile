# `make` alone lists what there is. Every target does its own set-up in .venv.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV_PIN := $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements-dev.txt)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --system-certs --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header pyproject.toml

# Without bytecode each process compiles what it imports, Django and all.
unexport PYTHONDONTWRITEBYTECODE

# Two processes fit the smallest machine this is developed on, and a third gains nothing; WORKERS=0 runs the tests in one.
WORKERS ?= 2
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv check format test demo drill bench requirements clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP)  ## Make .venv with the pinned dependencies and this checkout in it

# uv installs in seconds; where it cannot reach the package index, pip does the same in a minute.
# Some processes never write bytecode, such as those that send by Apprise: they need a third of the time with it.
$(STAMP): pyproject.toml requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; PYTHON=/path/to/python names one." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(UV_PIN)
	$(BIN)/uv pip install --quiet --system-certs --compile-bytecode --python $(BIN)/python \
		--require-hashes -r requirements-dev.txt \
		|| $(PIP) install --require-hashes -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# Settings make their home; a check leaves the developer's own alone.
check: export ORCHESTRATOR_HOME = $(CURDIR)/$(VENV)/check-home
check: $(STAMP)  ## Check format, lint, types, import rules, migrations and settings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/sdk/typed_script.py
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

format: $(STAMP)  ## Rewrite the files as `make check` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(STAMP)  ## Run every test: SQLite, PostgreSQL, Redis protocol, browser (ARGS="-k word" narrows it)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)
	$(BIN)/python -m tests.with_postgres $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m database $(ARGS)

demo: $(STAMP)  ## Run the flights example, deploy it and show it in the browser (ONCE=1 stops at the end)
	@$(BIN)/python examples/demo.py $(if $(ONCE),--once)

drill: $(STAMP)  ## Kill, restart and empty every part for three minutes, and look for what was lost (ARGS="--seed 7")
	@$(BIN)/orchestrator drill $(ARGS)

bench: $(STAMP)  ## Print the numbers as a table (PEERS=1 compares with Prefect, DBOS and Dagster)
	@$(BIN)/python -m benchmarks $(if $(PEERS),--peers)

requirements: | $(STAMP)  ## Compile requirements.txt and requirements-dev.txt again (ARGS=--upgrade for newer versions)
	$(COMPILE) $(ARGS) -o requirements.txt
	$(COMPILE) $(ARGS) --all-extras --group dev -c requirements.txt -o requirements-dev.txt

clean:  ## Remove .venv and everything that tools left behind
	rm -rf $(VENV) .venvs .demo .bench build dist .coverage .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache test-artifacts
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
