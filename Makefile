# `make demo` and `make test` need Python 3.11 or newer on the PATH and nothing else: they make .venv themselves.

VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --disable-pip-version-check --quiet
TORCH   := $(shell grep '^torch==' constraints.txt)
WORKERS ?= 2
HANGS   := -o faulthandler_timeout=240 -o faulthandler_exit_on_timeout=true# a test that hangs says where, and ends the run
PYTHON  ?= $(shell for p in python3.11 python3 python3.13 python3.12; do \
             $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo test test-slow test-studio test-ray test-gpu mutants lint docs bench quality wheel clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## train on the bundled digits, sample, score, and say where the pictures are
	$(BIN)/nelbo demo --out runs/demo

test: lint ## lint, types, import contract, then every test that is quick
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu and not studio and not ray" -n $(WORKERS) --dist loadfile $(HANGS)

test-slow: $(VENV)/.installed-test $(VENV)/.installed-docs ## the tests that take minutes, the site included
	$(BIN)/python -m pytest -m slow

test-studio: $(VENV)/.installed-studio ## the page of `nelbo studio` in a browser; needs Chromium
	$(BIN)/python -m pytest -m studio

test-ray: $(VENV)/.installed-ray ## the tests that start Ray
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ray

test-gpu: $(VENV)/.installed-test ## the tests that need a CUDA graphics card
	$(BIN)/python -m pytest -m gpu

mutants: $(VENV)/.installed-mutants ## change the core 300 times, one place at a time, and list what no test sees (up to an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants --workers $(WORKERS)

lint: $(VENV)/.installed-test ## ruff, mypy --strict and the import contract, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/.installed-docs ## the documentation site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-bench ## our U-Net step against diffusers' on this machine
	$(BIN)/python -m benchmarks.unet_step

quality: $(VENV)/.installed-quality ## image quality after 10 minutes of training, beside two other libraries (hours)
	$(BIN)/python -m benchmarks.quality --out runs/quality --minutes 10

wheel: $(VENV)/.installed ## build dist/nelbo-*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove the environment, caches and built files; runs/ is left alone
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch goes in first and alone, so that a machine which offers a CPU build of it gets that build.
$(VENV)/.torch: constraints.txt
	@test -n "$(PYTHON)" || { echo "nelbo needs Python 3.11 or newer with its venv module; none was found on the PATH. Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (once; it takes a few minutes)"
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PIP) $(TORCH)
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.installed-studio: $(VENV)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e '.[test-studio]'
	@touch $@

$(VENV)/.installed-ray: $(VENV)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e '.[test-ray]'
	@touch $@

$(VENV)/.installed-mutants: $(VENV)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e '.[mutants]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e '.[bench]'
	@touch $@

# Without its dependencies: one is torchvision, which needs a CUDA build of PyTorch. The extra has the others.
$(VENV)/.installed-quality: $(VENV)/.installed-bench
	$(PIP) -c constraints.txt --no-deps denoising-diffusion-pytorch
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@
