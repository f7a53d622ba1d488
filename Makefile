# Every target works in a fresh clone: it makes .venv and installs what it needs first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# One thread a core and no more: PyTorch's own default counts hyper-threads on some machines.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.physicalcpu)
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help quickstart reproduce conformance losses test test-slow lint types notebooks bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[samples,audio,svg,detection,translation,video,dev]'
	@touch $(READY)

quickstart: $(READY)  ## train a teacher, distil it into small students, compare them: 10 minutes on two cores
	$(BIN)/python experiments/quickstart/run.py

reproduce: $(READY)  ## the quick start over five test fifths, with intervals
	$(BIN)/python experiments/quickstart/run.py --folds 0 1 2 3 4 --controls transfer equal longer

conformance: $(READY)  ## check every loss against every property, and write the table
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.losses.write_conformance

losses: $(READY)  ## compare the losses on real data
	$(BIN)/python experiments/losses/run.py

test: $(READY)  ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slow'

test-slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## style, formatting and the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

notebooks: $(READY)  ## execute the notebooks
	$(BIN)/python -m nbconvert --to notebook --execute --output-dir runs/notebooks notebooks/*.ipynb

bench: $(READY)  ## speed, as ratios within one run
	$(BIN)/python -m tests.bench

clean:  ## remove the environment and caches, not the runs
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
