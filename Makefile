# Everything a newcomer or a developer types. Needs git, make and Python >= 3.11.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A process per core, each of them with one thread for arithmetic, so that they do not fight over the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadgroup --durations 15

.PHONY: demo test test-fast test-clusters test-lowest check format bench gpu fuzz coverage clean

demo: $(VENV)/installed  ## run the digits suite and print its tables
	$(BIN)/benchbench run suites/digits.yaml

test: $(VENV)/installed-dev  ## run all tests; those that start a Slurm and a Ray come last, one after the other
	$(PYTEST) -m "not cluster"
	$(BIN)/python -m pytest -m cluster tests/engines

test-fast: $(VENV)/installed-dev  ## run the tests that take seconds
	$(PYTEST) -m "not slow"

test-clusters: $(VENV)/installed-dev  ## run the tests that start a Slurm and a Ray, one after the other
	$(BIN)/python -m pytest -m cluster tests/engines

test-lowest:  ## run the tests that take seconds with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet uv
	VIRTUAL_ENV=$(VENV)-lowest $(VENV)-lowest/bin/uv pip install --quiet --resolution lowest-direct --editable ".[test]"
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -m "not slow"

check: $(VENV)/installed-dev  ## formatter, linter, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: $(VENV)/installed-dev  ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed-dev  ## print the performance figures that the docs state
	$(BIN)/python benchmarks

GPU ?=
gpu: $(VENV)/installed  ## ask this machine's GPU all that can only be asked there; GPU=--cpu rehearses it without one
	$(BIN)/python -m benchmarks.gpu $(GPU)

FUZZ_SECONDS ?= 60
fuzz: $(VENV)/installed-dev  ## look for files that break a reader, FUZZ_SECONDS for each reader
	$(BIN)/python -m pip install --quiet atheris
	for target in $$($(BIN)/python -c "from tests.fuzz.targets import TARGETS; print(*TARGETS)"); do \
	  $(BIN)/python -m tests.fuzz $$target $(FUZZ_SECONDS) .fuzz/$$target || exit 1; done

coverage: $(VENV)/installed-dev  ## run all tests, and say which lines they never reach
	$(BIN)/python -m coverage erase
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -m "not cluster"
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered

clean:  ## remove what the targets above made
	rm -rf $(VENV) .benchbench mlruns mlflow.db

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
