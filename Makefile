# Two commands for a fresh machine: `make demo` shows FISSION, `make test` proves it. Both make .venv first; a second
# call is quick. Another interpreter: make test PYTHON=python3.13 (after `make clean`).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHON
# How many files of tests run at a time; with 3 the suite takes ten minutes on 2 CPUs. 0: one, in the process of pytest itself: twenty.
WORKERS ?= 3

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lint docs bench clean debian-packages

help:
	@echo 'make demo   install and run the demo: two recorded voices are separated by a network of jobs, one of whose nodes is killed half-way'
	@echo 'make test   install with what the tests need, then lint, types and all tests'
	@echo 'make test-slow  what takes minutes: the soak tests, then 50 random faults of machines, lines and processes, one every 12 s'
	@echo 'make lint   format, lint and types only'
	@echo 'make docs   the docs as a site with the API reference, in build/site'
	@echo 'make bench  the benchmarks, one table per claim'
	@echo 'make clean  remove .venv, caches and what networks left behind'

demo: $(VENV)/.installed-demo
	$(BIN)/python examples/manage.py source_separation simulate --nodes 3 --kill 2@3

test: debian-packages lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# The soak tests have the same storm with its faults one right after the other: they meet each other's ends, these a network that is well again.
# faulthandler_timeout: the stacks of a test that takes so long are no news.
test-slow: debian-packages $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m soak -n $(WORKERS) --dist loadfile
	FISSION_FAULT_SECONDS=600 $(BIN)/python -m pytest -m soak -o faulthandler_timeout=0 tests/cluster/test_random_faults.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/build_docs.py

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf examples/*/simulation examples/*/local examples/*/runs examples/*/.fission-lock examples/*/collection examples/.emulate
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

debian-packages:
	@scripts/install-debian-packages

# --clear: an attempt that failed half-way leaves a .venv without pip.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "FISSION needs Python 3.10 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	@scripts/install-debian-packages python3-venv
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.made pyproject.toml
	@echo 'installing FISSION into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[examples]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml
	@echo 'installing FISSION and what its tests need into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
