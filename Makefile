# `make demo` and `make test` set up all they need, in .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Tests, a file at a time on each core, in the order of tests/conftest.py.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
INSTALLED_CUDA := $(VENV)/.installed-cuda
# PyTorch is not to be had for every Python that runs bsd, so it has an environment of its own.
TORCH_VENV := .venv-torch
TORCH := torch==2.13.0
# Builds without CUDA, which are small; the usual index is the second choice.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
WHEEL_VENV := .venv-wheel
# Name an interpreter with `make PYTHON=/path/to/python3.12`; the first that fits is taken.
PYTHON ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip otherwise holds its lines back from the pipe below.
export PYTHONUNBUFFERED := 1

.PHONY: help setup setup-cuda demo test test-all lint torch wheel clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      train on the 8x8 digits, test, recall, report (minutes)"
	@echo "make test      run the tests"
	@echo "make test-all  run the tests, the slow ones too"
	@echo "make lint      check the style"
	@echo "make torch     PyTorch for \`bsd bench\`, in $(TORCH_VENV)"
	@echo "make wheel     build the wheel, install it in an empty environment, run the demo there"
	@echo "make setup     only make the environment, in $(VENV)"
	@echo "make setup-cuda  the environment with what --device cuda needs besides a CUDA toolkit"
	@echo "make clean     remove the environment, caches and builds; results stay"

setup: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@fits='import ensurepip, sys, venv; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 14))'; \
	python=; \
	for candidate in $(or $(PYTHON),python3.12 python3.13 python3 python); do \
		if "$$candidate" -c "$$fits" >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "No Python 3.12 or 3.13 with the module venv was found: install it (on Debian or" \
			"Ubuntu: apt install python3.12-venv), or name it: make setup PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	echo "[1/3] $(VENV): an environment with $$("$$python" --version)"; \
	if [ -e $(VENV) ] && ! $(BIN)/python -c "$$fits" 2>/dev/null; then rm -rf $(VENV); fi; \
	"$$python" -m venv $(VENV)
	@echo "[2/3] installing $$(grep -c == requirements.lock) packages (requirements.lock)"
	@$(BIN)/python -m pip install --progress-bar off --requirement requirements.lock \
		| awk '/^Collecting /{printf "      %s\n", $$2} /^Installing/{print "      unpacking"} {fflush()}'
	@echo "[3/3] installing bsd itself, editable"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup-cuda: $(INSTALLED_CUDA)

$(INSTALLED_CUDA): $(INSTALLED) requirements-cuda.lock
	@echo "installing brian2cuda and cuRAND (requirements-cuda.lock)"
	@$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-cuda.lock
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/bsd run demo --overwrite --out results/demo

test: $(INSTALLED)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: $(INSTALLED)
	@$(BIN)/python -m pytest $(PARALLEL)

lint: $(INSTALLED)
	@$(BIN)/ruff check .

torch:
	@for python in python3.11 python3.12 python3.13; do \
		echo "trying $$python"; \
		"$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || continue; \
		rm -rf $(TORCH_VENV); \
		"$$python" -m venv $(TORCH_VENV); \
		install="$(TORCH_VENV)/bin/python -m pip install --quiet $(TORCH) numpy"; \
		if { $$install --retries 0 --timeout 15 --index-url $(TORCH_INDEX) 2>/dev/null || $$install; } \
			&& $(TORCH_VENV)/bin/python -c "import torch, numpy"; \
		then echo "$(TORCH_VENV): PyTorch for bsd bench"; exit 0; fi; \
	done; \
	rm -rf $(TORCH_VENV); \
	echo "PyTorch could be installed for none of python3.11, python3.12, python3.13." >&2; exit 1

# From a folder of its own, where nothing of the clone can be imported.
wheel: $(INSTALLED)
	@rm -rf build dist $(WHEEL_VENV)
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@$(or $(PYTHON),$(BIN)/python) -m venv $(WHEEL_VENV)
	@$(WHEEL_VENV)/bin/python --version
	@$(WHEEL_VENV)/bin/python -m pip install --quiet --constraint requirements.lock dist/*.whl
	@cd $(WHEEL_VENV) && bin/bsd run demo --json --out results/demo

clean:
	rm -rf $(VENV) $(TORCH_VENV) $(WHEEL_VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
