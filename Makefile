# The two commands of the README, and those of CONTRIBUTING. All work from a fresh clone with Python 3.11+ and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

SCALE ?= quick
SEED ?= 0

# PyPI's builds of PyTorch bring several GB of CUDA packages; these do not. For a GPU: make CPU_BUILDS= install
CPU_BUILDS ?= --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu

# Threads that wait sleep, so that other processes get on.
export OMP_WAIT_POLICY ?= passive

.PHONY: paper quickstart test test-slow bench docs lint types format clean install fuzz kill test-lowest test-site

quickstart: $(READY)  ## the whole job on a mock map; ARGS="--seed 3" passes options on
	$(BIN)/gcesbi quickstart $(ARGS)

# Files in the order of their names: those of few and long tests do not all come last, where one process would wait.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY)  ## all tests but the slow ones, each of which has a quick sister
	$(PYTEST) $(ARGS)

test-slow: $(READY)  ## the slow ones
	$(PYTEST) -m slow $(ARGS)

fuzz: $(READY)  ## 20,000 malformed inputs, SEED=1 for others; and 8,000 spoilt files for readers
	$(BIN)/python tests/faults/fuzz.py 20000 $(SEED)
	GCESBI_FUZZ=400 $(BIN)/python -m pytest -q -n 2 tests/faults/test_fuzz_readers.py

# Tests that between them call every dependency; warnings of old versions are theirs.
LOWEST := build/lowest
LOWEST_TESTS := tests/test_front_door.py tests/cli/test_cli.py tests/faults/test_exports.py tests/simulation/test_store.py \
	tests/io/test_healpix_fits.py tests/estimators/test_neural_posterior.py tests/baselines/test_samplers.py \
	tests/analysis/test_settings.py tests/cli/test_quickstart.py tests/plots/test_narrow.py

test-lowest:  ## the lowest versions that pyproject.toml declares, in a folder of their own
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet -c constraints-lowest.txt torch
	$(LOWEST)/bin/python -m pip install --quiet -c constraints-lowest.txt -e ".[dask,nuts]" pytest hypothesis mpmath gmpy2 dynesty
	$(LOWEST)/bin/python -m pytest -q -p no:cacheprovider -W default $(LOWEST_TESTS)

kill: $(READY)  ## 20 kills at random moments of ten commands, each resumed and compared
	$(BIN)/python tests/faults/kill.py 20 $(SEED)

bench: $(READY)  ## speed, against the last figures that were kept; ARGS=--keep keeps these
	$(BIN)/python benchmarks/compare.py $(ARGS)

paper: $(READY)  ## figures of the papers from runs that are made for them; SCALE=quick, default or paper; DATA=folder of maps
	$(BIN)/python -m paper --scale $(SCALE) $(if $(DATA),--data $(DATA)) $(ARGS)

test-site: $(READY)  ## build the site and open it in headless Chromium
	$(BIN)/python -m pytest -q tests/docs/site.py

docs: $(READY)  ## the site, in build/site/index.html; nothing is fetched
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site $(ARGS)

lint: $(READY) types  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy sees the packages as they are installed, baselines and validation inside gcesbi, and paper
	rm -rf build/types && mkdir -p build/types
	cp -r gcesbi build/types/gcesbi
	cp -r baselines build/types/gcesbi/baselines
	cp -r validation build/types/gcesbi/validation
	cp -r paper build/types/paper
	$(BIN)/mypy build/types/gcesbi build/types/paper

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt $(CPU_BUILDS) torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
