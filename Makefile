# `make demo` and `make test` need nothing but Debian, Python 3.11, python3-venv, git and make.
PYTHON ?= python3
PROJECT ?= .
VENV := .venv
BIN := $(VENV)/bin
# Tests wait for processes more than they compute.
PYTEST := $(BIN)/python -Im pytest -q --dist worksteal -n logical --maxprocesses 8

# Without cached bytecode each of the thousand processes that the tests start would compile anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check cover bench build clean

demo: $(VENV)/run
	$(BIN)/python examples/crash_and_recover.py $(PROJECT)

test: $(VENV)/dev
	$(BIN)/python -Im pytest

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

cover: $(VENV)/dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine
	$(BIN)/coverage report

bench: $(VENV)/dev
	$(BIN)/python bench/run.py

build: $(VENV)/dev
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache

$(VENV)/run: pyproject.toml setup.cfg
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/python -m pip install --quiet --group dev
	touch $@
