# Two commands for a fresh machine: `make demo` shows FISSION, `make test` tests it. Both create .venv first; a second
# call is quick. For another interpreter: make test PYTHON=python3.13 (after `make clean`).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHON
# Number of test files that run at a time; with 3 the suite takes about twenty minutes on 2 CPUs. 0: one at a time, in pytest's own process.
WORKERS ?= 3

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow compiled lint docs browser wheel release bench bench-quick clean debian-packages servers servers_pw start stop restart renew

help:
	@echo 'make demo   install, and run the demo: a network separates two recorded voices, and one of its nodes is killed half-way'
	@echo 'make test   install with the test dependencies, check format, lint and types, and run all tests'
	@echo 'make test-slow  run the tests that take minutes: the soak tests, then ten minutes of random faults of machines, links and processes'
	@echo 'make lint   check format, lint and types'
	@echo 'make docs   build the docs and the API reference as a site in build/site'
	@echo 'make wheel  build the wheels into dist/, for machines without this folder; make release checks first that this commit is a release'
	@echo 'make browser  fetch the browser libraries of the page, which `fission NETWORK dashboard` serves'
	@echo 'make bench  run the benchmarks, one table per claim'
	@echo 'make bench-quick  run a short version of each benchmark, within ten minutes'
	@echo 'make servers  set the machines of ansible/ up as nodes; asks for the sudo password. make servers_pw asks for the ssh password too'
	@echo 'make start, stop, restart  start, stop or restart the service of the nodes; make renew brings them up to date, one after another'
	@echo 'make clean  remove .venv, caches and what networks left behind'

demo: $(VENV)/.installed-demo
	$(BIN)/python examples/manage.py source_separation simulate --nodes 3 --kill 2@3

test: debian-packages lint $(VENV)/.browser compiled
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# The soak tests inject the same faults in quick succession, so that they overlap; here, each fault meets a network that has recovered.
test-slow: debian-packages $(VENV)/.installed-dev $(VENV)/.browser compiled
	$(BIN)/python -m pytest -m "soak and not alone" -n $(WORKERS) --dist loadfile
	$(BIN)/python -m pytest -m alone tests/e2e
	FISSION_FAULT_SECONDS=600 $(BIN)/python -m pytest -m soak tests/cluster/test_random_faults.py

# Where the environment forbids Python to keep what it compiles (PYTHONDONTWRITEBYTECODE), each of the tests' thousands of processes would
# compile FISSION: a quarter of their processor time.
compiled: $(VENV)/.installed-dev
	@$(BIN)/python -m compileall -q src

lint: $(VENV)/.installed-dev $(VENV)/.browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/check_page.py

docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/build_docs.py

wheel: $(VENV)/.installed-build $(VENV)/.browser
	@$(BIN)/python scripts/build_wheels.py

# Publishes nothing.
release: $(VENV)/.installed-build $(VENV)/.browser
	@$(BIN)/python scripts/build_wheels.py --release

browser: $(VENV)/.browser

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

bench-quick: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks --quick

# The machines of ansible/inventories/production/hosts.yml.
servers start stop restart renew: $(VENV)/.installed-provision
	$(BIN)/python -m fission provision $@ --ask-become-pass

servers_pw: $(VENV)/.installed-provision
	$(BIN)/python -m fission provision servers --ask-pass --ask-become-pass

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf examples/*/simulation examples/*/local examples/*/runs examples/*/.fission-lock examples/*/collection examples/*/recordings examples/.emulate
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

debian-packages:
	@scripts/install-debian-packages

# --clear: an attempt that failed half-way leaves a .venv without pip.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "FISSION needs Python 3.10 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	@scripts/install-debian-packages python3-venv
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# FISSION's distribution was named `fission` once: an installation from then must go, or there are two. Says nothing where there is none.
FORGET_OLD_NAME = $(BIN)/python -m pip uninstall --quiet --yes --disable-pip-version-check fission 2>/dev/null

$(VENV)/.installed-build: $(VENV)/.made pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'hatchling>=1.26'
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.made pyproject.toml
	@echo 'installing FISSION into $(VENV) ...'
	@$(FORGET_OLD_NAME)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[examples]'
	@touch $@

$(VENV)/.installed-provision: $(VENV)/.made pyproject.toml
	@echo 'installing FISSION and Ansible into $(VENV) ...'
	@$(FORGET_OLD_NAME)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cluster,provision]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml
	@echo 'installing FISSION and its test dependencies into $(VENV) ...'
	@$(FORGET_OLD_NAME)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# By npm, which comes from PyPI where the machine has none.
$(VENV)/.browser: browser/package.json browser/package-lock.json scripts/fetch_browser_libraries.py | $(VENV)/.made
	@echo 'fetching the browser libraries of the page ...'
	@$(BIN)/python scripts/fetch_browser_libraries.py
	@touch $@
