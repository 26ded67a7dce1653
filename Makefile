# `make demo` and `make test` need nothing but Debian, Python 3.11, python3-venv, git and make.
PYTHON ?= python3
PROJECT ?= .
VENV := .venv
BIN := $(VENV)/bin
# One worker for each core: more of them wait for each other, and deadlines pass meanwhile.
IN_PARALLEL := pytest -q --dist worksteal -n logical --maxprocesses 8
PYTEST := $(BIN)/python -Im $(IN_PARALLEL)

# Which tests; all of them by default.
TESTS ?=

# Without cached bytecode each of the thousand processes that the tests start would compile anew.
unexport PYTHONDONTWRITEBYTECODE

# How long the attacks take together, and the seed of an earlier run, to repeat it.
MINUTES ?= 2
SEED ?=

.PHONY: demo test test-all attack oracle browser model mcp acp check check-style check-mypy check-pyright cover docs bench build clean

demo: $(VENV)/run
	$(BIN)/python examples/crash_and_recover.py $(PROJECT)

# What `make oracle` runs is left to it, for each worker would play all of it; and what needs a
# browser, a kernel of Jupyter's, a model or Node to `make browser`, `make model`, `make mcp` and
# `make acp`.
test: $(VENV)/test
	$(PYTEST) --ignore tests/oracle --ignore tests/browser --ignore tests/model --ignore tests/conformance $(TESTS)

test-all:
	.ci/test-all

attack: $(VENV)/run
	$(BIN)/python tests/attack/suite.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

oracle: $(VENV)/test
	.ci/oracle $(BIN)/python

browser: $(VENV)/browser
	.ci/browser $(BIN)/python

# Clients of the Model Context Protocol that are not ours, and the official suite for servers.
mcp: $(VENV)/test tests/conformance/node_modules
	$(BIN)/python -Im pytest -q tests/conformance --ignore tests/conformance/test_acp_agent.py

# A client of the Agent Client Protocol that is not ours.
acp: $(VENV)/test tests/conformance/node_modules
	$(BIN)/python -Im pytest -q tests/conformance/test_acp_agent.py

# Models behind servers: one that is played (it needs Node), and a small real one.
model: $(VENV)/model tests/model/node_modules
	$(BIN)/python -Im pytest -q tests/model

# The two that read types take a minute or two on one core each: `make -j check` has them at once.
check: check-style check-mypy check-pyright

check-style: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

check-mypy: $(VENV)/dev
	$(BIN)/mypy

check-pyright: $(VENV)/dev
	$(BIN)/pyright

# What depends on the interpreter: `make test-all` runs it on every Python.
ROOMS := -m "not slow" tests/otp tests/session tests/system/test_sessions.py \
	tests/system/test_crash_recovery.py tests/test_package.py

# Of the pure rooms, by their own tests: to measure each process of a system too takes the whole
# suite twice its time, and what only runs there is what a kill cuts short.
# What asks processes, and the registry that they register at, is tested with processes alone;
# so is what confines a process for good, which no test can do to its own.
ASKING = \
	jidocode/otp/asking.py jidocode/otp/management.py jidocode/otp/registry/__init__.py \
	jidocode/otp/registry/server.py jidocode/otp/server/streams.py jidocode/otp/tasks.py \
	jidocode/session/agent/client.py jidocode/session/agent/compaction.py \
	jidocode/session/agent/context.py jidocode/session/agent/driver.py jidocode/session/agent/handle.py \
	jidocode/session/agent/preload.py jidocode/session/agent/presence.py \
	jidocode/session/agent/running.py jidocode/session/agent/server.py jidocode/session/child.py \
	jidocode/session/commands/*.py jidocode/session/confinement/apart.py \
	jidocode/session/confinement/here.py jidocode/session/confinement/namespaces.py \
	jidocode/session/confinement/world.py jidocode/session/idle.py \
	jidocode/session/manager/confining.py jidocode/session/manager/searches.py \
	jidocode/session/manager/snapshot_client.py jidocode/session/manager/snapshots.py \
	jidocode/session/mcp/asking.py jidocode/session/mcp/client.py jidocode/session/mcp/connection.py \
	jidocode/session/mcp/preload.py jidocode/session/mcp/program.py jidocode/session/mcp/server.py \
	jidocode/session/mcp/tools.py jidocode/session/mcp/transport.py jidocode/session/mcp/web.py \
	jidocode/session/preload.py jidocode/session/project/holding.py jidocode/session/starting.py \
	jidocode/session/tools/builtin.py jidocode/session/tools/calls.py jidocode/session/tools/makers.py \
	jidocode/session/tools/toolbox.py
COMMA = ,
EMPTY =
SPACE = $(EMPTY) $(EMPTY)
cover: $(VENV)/test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(IN_PARALLEL) $(ROOMS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include "jidocode/otp/*,jidocode/session/*" --omit "$(subst $(SPACE),$(COMMA),$(strip $(ASKING)))" --fail-under 95

# With nothing but what users have: what else is installed is imported by some libraries, too.
bench: $(VENV)-bench/run
	$(VENV)-bench/bin/python -m pip install --quiet psutil trio uvloop openai
	$(VENV)-bench/bin/python bench/run.py
	$(VENV)-bench/bin/python bench/searching.py
	$(VENV)-bench/bin/python bench/awaiting.py
	$(VENV)-bench/bin/python bench/prompting.py

# An export, an example or a page that was added shows without a change here: docs/site_parts.py.
docs: $(VENV)/docs
	$(BIN)/python -m sphinx -q -E -W --keep-going -j 2 docs build/site
	@echo "build/site/index.html"

build: $(VENV)/dev
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv* build dist *.egg-info .coverage* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache tests/*/node_modules tests/model/.cache

# An editable install by path, not by a hook in each interpreter that starts, which takes 20 ms.
$(VENV)/run $(VENV)-bench/run: %/run: pyproject.toml setup.cfg
	test -x $*/bin/python || $(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --upgrade pip
	$*/bin/python -m pip install --quiet --config-settings editable_mode=compat --editable .
	touch $@

$(VENV)/test: $(VENV)/run
	$(BIN)/python -m pip install --quiet --group test
	touch $@

$(VENV)/docs: $(VENV)/test
	$(BIN)/python -m pip install --quiet --group docs
	touch $@

$(VENV)/browser: $(VENV)/test
	$(BIN)/python -m pip install --quiet --group browser
	touch $@

$(VENV)/model: $(VENV)/test
	$(BIN)/python -m pip install --quiet --only-binary :all: --group model
	touch $@

tests/model/node_modules tests/conformance/node_modules: %/node_modules: %/package.json
	npm install --silent --no-audit --no-fund --no-package-lock --prefix $*
	touch $@

$(VENV)/dev: $(VENV)/test
	$(BIN)/python -m pip install --quiet --group dev
	touch $@
