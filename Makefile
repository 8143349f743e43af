# Two commands do everything: 'make bench' measures, 'make test' tests. Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
PROVIDER ?= cpu
BATCH_SIZES ?= 1,4,16
REPETITIONS ?= 3
PROFILE ?= quick
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# uv, where it is on the PATH, takes seconds where pip takes minutes.
INSTALL := $(if $(shell command -v uv),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install)

.PHONY: help install bench quick coverage test test-avx2 test-cpus fuzz check format docs release-check gpu-check benchmarks clean

help:
	@echo "make bench       measure the five study models on this machine and write a report"
	@echo "                 (PROVIDER=cuda PROFILE=standard BATCH_SIZES=1..128 REPETITIONS=5 ...)"
	@echo "make quick       run the tests that take a moment each: no whole runs, no browser"
	@echo "make coverage    run them again, and print which share of the code they run"
	@echo "make test        run the tests"
	@echo "make test-cpus   run what may depend on the processor as on others: figures with two"
	@echo "                 kinds of BLAS and one thread or more, int8 on an emulated CPU (qemu-user)"
	@echo "make fuzz        open 300 spoilt runs by every command that reads runs"
	@echo "make check       lint, types, import directions, language"
	@echo "make format      format the code"
	@echo "make docs        build the documentation site, strictly, into build/site"
	@echo "make release-check  build the distribution and try it in clean environments (SETS=light)"
	@echo "make gpu-check   check this machine's GPU in ten minutes, and write a page (OUT=gpu-check)"
	@echo "                 (PYTHON=PATH: with this interpreter as it is, nothing is installed)"
	@echo "make benchmarks  what the tool costs a measurement, and how far its joules are off"
	@echo "                 (PEER_PYTHON=PATH: an interpreter with zeus and codecarbon, to compare)"

$(INSTALLED): pyproject.toml constraints.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(INSTALL) --quiet --constraint constraints.txt --group dev --editable '.[bench]'
	touch $@

install: $(INSTALLED)

bench: install
	$(BIN)/gb bench --provider $(PROVIDER) --batch-sizes $(BATCH_SIZES) \
		--repetitions $(REPETITIONS) --profile $(PROFILE)

# One more than there are cores, as some of them wait, with a thread each: pools of threads on the same
# cores wait for each other, spinning.
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 2 ? 3 : n < 6 ? n + 1 : 6)))
PARALLEL = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

QUICK := not slow and not alone and not browser and not emulated
# None of these waits.
quick: WORKERS = $(shell n=$$(nproc); echo $$((n < 2 ? 2 : n < 6 ? n : 6)))
quick: install
	$(PARALLEL) -q -m "$(QUICK)"

# Of the tests that COVERED selects. The floor is in pyproject.toml.
COVERED ?= $(QUICK)
coverage: install
	rm -f .coverage .coverage.*
	$(subst python -m,coverage run -m,$(PARALLEL)) -q -m "$(COVERED)"
	$(BIN)/coverage combine --quiet
	@for room in analysis exporter models runners src/greenbatch; do \
		printf '%-16s %s %%\n' $$room \
			$$($(BIN)/coverage report --fail-under 0 --format total --include "$$room/*"); \
	done
	$(BIN)/coverage report --format total

# Several at a time; then what measures time: files in tests/unit, which mostly wait, four at a time;
# then files of whole runs, two at a time. All use the same artifacts.
test: install
	@GB_TEST_ARTIFACTS=$$(mktemp -d) && export GB_TEST_ARTIFACTS && \
	trap 'rm -rf "$$GB_TEST_ARTIFACTS"' EXIT && set -x && \
	$(PARALLEL) -m "not alone and not emulated" --no-loadscope-reorder && \
	$(BIN)/python -m pytest -m alone --numprocesses 4 --dist loadfile tests/unit && \
	$(BIN)/python -m pytest -m alone --numprocesses 2 --dist loadfile --ignore tests/unit

# What 'make test' runs with this processor's own kernels and threads is run with those of others:
# AVX2 with one thread, then AVX-512, or SSE alone where this processor has no AVX-512.
# 'make test-avx2' is the half that every change is tried with.
# Where the processor has no more than AVX2, 'make test' ran it so.
NUMERIC := $(BIN)/python -m pytest -q -m numeric --numprocesses 2 --dist loadfile
test-avx2: install
	! grep -qs avx512f /proc/cpuinfo || \
		OPENBLAS_CORETYPE=Haswell ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 \
		OMP_NUM_THREADS=1 $(NUMERIC)
	GB_NEEDS_EMULATOR=1 $(BIN)/python -m pytest -m emulated

test-cpus: test-avx2
	OMP_WAIT_POLICY=passive OPENBLAS_CORETYPE=$$(grep -qs avx512bw /proc/cpuinfo && echo SkylakeX || echo Nehalem) $(NUMERIC)

fuzz: install
	GB_FUZZ_RUNS=300 $(BIN)/python -m pytest -s --timeout 7200 -k spoilt tests/security/test_fuzzed_runs.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers auto
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/python tools/count_any.py
	$(BIN)/python tools/prose.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A warning is an error: a link or an anchor without a target, a page that no menu has.
docs: install
	$(INSTALL) --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	$(BIN)/python -m pytest -q tests/docs tests/examples
	@echo "build/site/index.html"

# The wheel alone, then with the extra 'bench', in environments of their own; the result is in dist.
SETS ?= light,bench
release-check: install
	$(INSTALL) --quiet --constraint constraints.txt --group release
	$(BIN)/towncrier build --draft --version 0.0.0 >/dev/null
	$(BIN)/python tools/release_check.py --sets $(SETS)

# PYTHON=PATH names an interpreter: it is used as it is, and nothing is installed. Ten minutes at most.
# Exit codes of the check: 0 ok, 1 something failed, 3 nothing could run on a GPU ('make' itself exits
# 2 then, and prints the code).
OUT ?= gpu-check
CHECKS_WITH_GIVEN := $(filter-out file,$(origin PYTHON))
gpu-check: $(if $(CHECKS_WITH_GIVEN),,install)
	PYTHONPATH="$(CURDIR)/src$${PYTHONPATH:+:$$PYTHONPATH}" \
		$(if $(CHECKS_WITH_GIVEN),$(PYTHON),$(BIN)/python) -m benchmarks.gpu_check --out $(OUT)

benchmarks: install
	$(BIN)/python benchmarks/window_overhead.py
	$(BIN)/python benchmarks/sampler_cost.py
	$(BIN)/python benchmarks/metering_accuracy.py --quick $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
