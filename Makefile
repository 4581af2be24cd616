# The whole of it: `make demo`, `make test`. The rest is for working on Pilothouse.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test soak check bench docs screens constraints node clean

demo: .venv
	$(BIN)/pilothouse demo

test: .venv
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

# What takes long to show, whole; the tests have a short cut of each.
soak: .venv
	PILOTHOUSE_TEST_SOAK=1 $(BIN)/python -m pytest --tb=native tests/soak

check: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -ll -c pyproject.toml -r server tools chatops recommender
	$(BIN)/python -m server.docs --check

bench: .venv
	$(BIN)/python -m tests.bench

# Tables and pages that are made from the code.
docs: .venv
	$(BIN)/python -m server.docs

# Pictures of the page, for docs/page.md. Needs Chromium.
screens: .venv
	$(BIN)/python -m tests.screens

.venv: pyproject.toml constraints.txt
	@command -v git >/dev/null || { echo "git is missing: apt-get install -y git"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: apt-get install -y python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "python3-venv is missing: apt-get install -y python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch .venv

# Pins anew: versions and hashes, and no address to get them from.
constraints:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --no-annotate --extra dev pyproject.toml -o constraints.txt

# Node 22 and the MCP conformance suites, for the tests that drive them.
node:
	@tests/node/install

clean:
	rm -rf .venv .node build *.egg-info
