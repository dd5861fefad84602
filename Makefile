# The two commands that matter: `make demo` and `make test`. Everything they need goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types unit cluster-test test-faults bench quality clean help

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Opportune needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[warehouse]'
	@touch $@

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e . --group dev
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime  ## a shop with real products on http://127.0.0.1:8080
	$(BIN)/opportune demo $(DEMO)

test: $(STAMP) lint types unit  ## everything the everyday check runs

lint: $(STAMP)
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/ruff check src tests benchmarks scripts

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -rs $(ARGS)

cluster-test: $(STAMP)  ## the cluster on real Kafka and Redis (needs Java, Maven, redis-server)
	OPPORTUNE_CLUSTER_TESTS=1 $(BIN)/python -m pytest -rs tests/cluster tests/streams $(ARGS)

test-faults: $(STAMP)  ## the long fault runs: 200 kills, 1,000 power cuts, 10,000 crash states (root for the power cuts)
	$(BIN)/python -m tests.faults.crash_states --states 10000
	$(BIN)/python -m tests.faults.power_cuts --cuts 1000
	$(BIN)/python -m tests.faults.kills --kills 200

bench: $(STAMP)  ## the speed table of the README
	$(BIN)/python -m benchmarks.speed.serving

quality: $(STAMP)  ## recommendation quality: make quality DATA=folder-with-sessions.parquet
	$(BIN)/python -m benchmarks.quality.sessions $(DATA)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo node_modules
