# `make` lists what one can do. Needs Python 3.11 or newer, make, git and a package index; the rest
# is installed into .venv.
.DEFAULT_GOAL := help
.PHONY: help demo screenshot test test-static test-render test-run test-update test-real updates check check-static format bench clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
BACKEND := template/{{ backend_dir }}
# Two workers, each of which takes the next test: the long ones come first.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --maxschedchunk 1

# The Makefile of a rendered project calls uv.
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F '|' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: $(INSTALLED) ## render the defaults, run them, and sign in; Ctrl-C ends it
	@$(BIN)/python -m scripts.demo

screenshot: $(INSTALLED) ## take the picture in the README anew; needs Chromium
	@$(BIN)/python -m scripts.screenshot

test: $(INSTALLED) ## run the tests of all tiers; below, one tier
	$(PYTEST) -m "not real"
	$(BIN)/python -m pytest tests/real

test-static: $(INSTALLED) ## the template as it lies there
	$(PYTEST) tests/static

test-render: $(INSTALLED) ## what comes out, without running it
	$(PYTEST) tests/render

test-run: $(INSTALLED) ## what comes out, installed and running
	$(PYTEST) tests/run

test-update: $(INSTALLED) ## a project that follows the template
	$(PYTEST) tests/update

test-real: $(INSTALLED) ## images, faults, races, which want the machine for themselves
	$(BIN)/python -m pytest tests/real

updates: $(INSTALLED) ## measure updates of all teams with all suites, and write docs/updates.md
	rm -rf .updates
	TEMPLATE_UPDATES=all $(PYTEST) tests/update/test_matrix.py
	$(BIN)/python -m tests.update.table

check: check-static test ## all that CI checks

check-static: $(INSTALLED) ## lint, format, types, and the template's own rules
	$(BIN)/ruff check benchmarks hooks scripts template_update tests "$(BACKEND)"
	$(BIN)/ruff format --check benchmarks hooks scripts template_update tests "$(BACKEND)"
	git ls-files -z | xargs -0 $(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/python -m scripts.check_template

format: $(INSTALLED) ## fix what a machine can fix
	$(BIN)/ruff check --fix benchmarks hooks scripts template_update tests "$(BACKEND)"
	$(BIN)/ruff format benchmarks hooks scripts template_update tests "$(BACKEND)"

bench: $(INSTALLED) ## measure against reference programs; needs wrk, and BENCH="--write" puts it on the page
	$(BIN)/python -m benchmarks $(BENCH)

clean: ## remove what was made here: .venv, the demo, caches
	rm -rf .venv .benchmarks .demo .containers .updates .mypy_cache .pytest_cache .ruff_cache
	find benchmarks hooks scripts template_update tests template -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, and this is %d.%d: set PYTHON, as in make PYTHON=python3.13" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --group dev
	@touch $@
