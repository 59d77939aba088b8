# Two commands do everything on a fresh machine with Python 3.11+ and pip:
#   make run        sets up .venv, runs the main suite, says where the report is
#   make test       sets up .venv with the test extra, runs every check
# A contributor's loop is make test-fast: unit tests (but for the slow ones), lint and types.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SUITE  ?= suites/cnn.yaml

# Tests run in two processes more than there are cores, at most four, because many wait for what they started. Each process takes a
# file at a time: tests of a file share fixtures such as a real run.
JOBS   ?= $(shell $(PYTHON) -c 'import os; print(min(4, len(os.sched_getaffinity(0)) + 2) if hasattr(os, "sched_getaffinity") else 2)')
PYTEST  = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Where this is set, each of the hundreds of programs that tests start would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-fast lint docs bench schemas clean

run: $(VENV)/.installed
	$(BIN)/gpubench run $(SUITE)

# Tests with the real nsys fetch it into a cache folder where Debian's archive can be reached (scripts/fetch_nsys.sh).
test: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory -j2 $(VENV)/.compiled-tests lint docs
	GPUBENCH_FETCH_NSYS=1 $(PYTEST)

test-fast: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory -j2 $(VENV)/.compiled-tests lint
	$(PYTEST) -q -m "not slow" tests/unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-test
	$(BIN)/mkdocs build --strict --quiet

# The first time, one process compiles the tests while another checks types: pytest's processes would each compile them all.
$(VENV)/.compiled-tests: $(VENV)/.installed-test
	@$(BIN)/python -m pytest --collect-only -qq >$(VENV)/collected.txt || { cat $(VENV)/collected.txt; exit 1; }
	@touch $@

# Ratios measured on this machine; slow, and best run on a quiet one.
bench: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/perf --benchmark-only --benchmark-columns=median,iqr,rounds

# What is made from the models: JSON Schemas and the suite reference.
schemas: $(VENV)/.installed
	$(BIN)/python scripts/generate.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gpubench needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.installed
