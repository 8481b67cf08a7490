# Needs make and Python 3.11 or later; the three variables below are all there are.
SUREFOOT_PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
export OMP_NUM_THREADS = 1

help: ## name these targets (the default)
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

run: install ## train a small model for two minutes and say where it lies
	@OMP_NUM_THREADS= $(VENV)/bin/surefoot train starter

drill: install ## train for a minute with a fault put in on purpose, found and answered
	@OMP_NUM_THREADS= $(VENV)/bin/surefoot train starter train.minutes=1 save.every=30 \
	 --drill lr_x30@120

test: check ## check, then the fast tests
	@$(VENV)/bin/python -m pytest -q -n 2 -m "not slow and not gpu and not soak"

check: install ## format, lint, types, layers, names
	@$(VENV)/bin/ruff format --check -q . || { echo "Write  ruff format ."; exit 1; }
	@$(VENV)/bin/ruff check -q .
	@told=$$($(VENV)/bin/lint-imports --no-logo 2>&1) || { echo "$$told"; exit 1; }
	@$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	@$(VENV)/bin/python -m pytest -q tests/test_house.py tests/test_vocabulary.py

full: install ## the slow tests: kills, grids, golden curves, documents
	@$(VENV)/bin/python -m pytest -q -n 2 --durations=15 -m "slow and not gpu and not soak"

soak: install ## the tests that take hours; never in CI
	@$(VENV)/bin/python -m pytest -m soak

golden: install ## write the golden curves anew; say why in CHANGELOG.md, under Numerics
	@$(VENV)/bin/python -m tests.golden.write

dev: install ## the virtual environment, and the commit hook
	@mkdir -p .git/hooks && { [ -e .git/hooks/pre-commit ] || cp scripts/pre-commit .git/hooks/; }
	@echo "ready: . $(VENV)/bin/activate"

install: # a second one does nothing: the stamp holds the hash of pyproject.toml
	@$(SUREFOOT_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	 "surefoot needs Python 3.11 or later: install it, then  make SUREFOOT_PYTHON=python3.12"; exit 1; }
	@$(SUREFOOT_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
	 "this Python has no venv: install the package python3-venv and run make again"; exit 1; }
	@hash=$$($(SUREFOOT_PYTHON) -c 'import hashlib; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest())'); \
	if [ "$$(cat $(VENV)/stamp 2>/dev/null)" != "$$hash" ]; then \
	 { [ -x $(VENV)/bin/pip ] || $(SUREFOOT_PYTHON) -m venv $(VENV); } && \
	 if nvidia-smi -L >/dev/null 2>&1; then torch='torch>=2.11,<2.14'; index=; else \
	  torch='torch==2.13.0'; index='$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))'; fi && \
	 echo "installing torch, then surefoot, into $(VENV) (about a minute)" && \
	 $(VENV)/bin/pip install -q --disable-pip-version-check $$index "$$torch" && \
	 $(VENV)/bin/pip install -q --disable-pip-version-check -e '.[dev]' && echo "$$hash" > $(VENV)/stamp && \
	 { nvidia-smi -L >/dev/null 2>&1 || $(VENV)/bin/python -c 'import torch; torch.version.cuda and print("torch came with CUDA (2 GB more on disk, works the same); for the smaller build set TORCH_INDEX to the index of CPU wheels")'; }; fi

.PHONY: help run drill test check full soak golden dev install
