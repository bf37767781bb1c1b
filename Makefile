# make demo: the whole road once, with its trace.  make test: all tests.  make conformance: OP-TEE's own test suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench conformance vectors fuzz crash clean

demo: $(STAMP)
	$(BIN)/optemu demo

test: $(STAMP)
	$(BIN)/pytest

# Style, types, and the laws of the house (which room may know which).
lint: $(STAMP)
	$(BIN)/ruff check src tests conformance benchmarks examples
	$(BIN)/ruff format --check src tests conformance benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports

# Prints what calls, cryptography and storage cost, and what to compare it to; asserts nothing. ONLY="crypto": of that.
bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ONLY)

# xtest as Debian packages it, fetched into the cache; fails when a case that is claimed to pass does not.
conformance: $(STAMP)
	$(BIN)/python -m conformance

# Published test vectors of cryptography, fetched into the cache; fails when one disagrees.
vectors: $(STAMP)
	$(BIN)/python -m conformance.vectors

# Hostile inputs of every kind, a million by default; says what to call to see a failure again.
fuzz: COUNT ?= 1000000
fuzz: $(STAMP)
	PYTHONPATH=tests:tests/e2e $(BIN)/python -m campaigns --count $(COUNT)

# Trusted storage with the power, or the disk, going at any moment: a hundred thousand moments by default; the process
# that works on it killed before and after every file operation, and in two thousand longer runs.
crash: COUNT ?= 100000
crash: KILLS ?= 2000
crash: $(STAMP)
	PYTHONPATH=tests/unit/storage $(BIN)/python -m crash_points --count $(COUNT)
	PYTHONPATH=tests/e2e $(BIN)/python -m storage_stops
	PYTHONPATH=tests/e2e $(BIN)/python -m storage_kills --count $(KILLS)

# Debian keeps venv in a package of its own: say so rather than fail with pip's words.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) was not found: PYTHON names a Python 3.11 or later" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) examples/*/out .mypy_cache .ruff_cache .pytest_cache .hypothesis
