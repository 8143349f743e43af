# Two commands do everything: 'make bench' measures, 'make test' tests. Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
PROVIDER ?= cpu
BATCH_SIZES ?= 1,4,16
REPETITIONS ?= 3
PROFILE ?= quick
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install bench test check format gpu-check benchmarks clean

help:
	@echo "make bench       measure the five study models on this machine and write a report"
	@echo "                 (PROVIDER=cuda PROFILE=standard BATCH_SIZES=1..128 REPETITIONS=5 ...)"
	@echo "make test        run the tests"
	@echo "make check       lint, types, import directions"
	@echo "make format      format the code"
	@echo "make gpu-check   run the tests that need a CUDA device"
	@echo "make benchmarks  how much the tool itself costs a measurement"

$(INSTALLED): pyproject.toml constraints.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(INSTALLED)

bench: install
	$(BIN)/gb bench --provider $(PROVIDER) --batch-sizes $(BATCH_SIZES) \
		--repetitions $(REPETITIONS) --profile $(PROFILE)

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

gpu-check: install
	$(BIN)/python -m pytest -m gpu -rs

benchmarks: install
	$(BIN)/python benchmarks/window_overhead.py

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
