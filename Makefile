# `make help` lists the targets. Everything is written inside this folder: the packages in .venv,
# what is kept between runs in .cache, the book in _build.

# An interpreter of your own choice:  make env PYTHON=/path/to/python3.12
PYTHON ?=
REPOSITORY ?=
PORT ?= 0

PY := .venv/bin/python
CACHE := $(CURDIR)/.cache

export IPYTHONDIR := $(CACHE)/ipython
export JUPYTER_CONFIG_DIR := $(CACHE)/jupyter/config
export JUPYTER_DATA_DIR := $(CACHE)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(CACHE)/jupyter/runtime
export MPLCONFIGDIR := $(CACHE)/matplotlib
export PIP_CACHE_DIR := $(CACHE)/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export ROBUSTLIB_CACHE := $(CACHE)/robustlib
export TFDS_DATA_DIR := $(CACHE)/tensorflow_datasets
export TMPDIR := $(CACHE)/tmp
export XDG_CACHE_HOME := $(CACHE)/xdg
export XDG_CONFIG_HOME := $(CACHE)/xdg
export XDG_DATA_HOME := $(CACHE)/xdg
$(shell mkdir -p "$(CACHE)/tmp")

.DEFAULT_GOAL := help
.PHONY: help env book serve test test-mnist test-gpu test-colab bench results lint format lock publish

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

env: .venv/complete  ## make .venv and install requirements.txt into it (1 to 5 minutes, 1.2 GB)

# The stamp comes last, so an installation that was interrupted is started again. Setuptools comes
# first, because one package in the list and robustlib itself are built here, with that setuptools.
.venv/complete: requirements.txt
	@python=$$(PYTHON='$(PYTHON)' sh tools/find_python.sh) && \
	echo "[env] Making .venv with $$("$$python" --version) and installing requirements.txt: 1.2 GB, 1 to 5 minutes." && \
	rm -rf .venv && "$$python" -m venv .venv
	@sed -nE '/^(setuptools|wheel)==/,/[^\\]$$/p' requirements.txt > .venv/build-requirements.txt
	@$(PY) -m pip install -q --no-deps --require-hashes --no-compile -r .venv/build-requirements.txt
	@$(PY) -m pip install -q --no-deps --require-hashes --no-compile --no-build-isolation -r requirements.txt
	@echo "[env] Installing robustlib from this folder."
	@$(PY) -m pip install -q --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "[env] Done: .venv is ready."

book: .venv/complete  ## execute the chapters and build the book, _build/html/index.html
	@echo "[book] Executing every chapter and building the pages: up to 12 minutes the first time."
	@$(PY) -c "from jupyter_book.cli.main import main; main()" build . --all -W -n --keep-going
	@echo "[book] Done. Open _build/html/index.html, or type: make serve"

serve:  ## show the built book at a local address (PORT=8000 to choose the port)
	@test -f _build/html/index.html || { echo "There is no built book yet: type 'make book' first."; exit 1; }
	@echo "Stop with Ctrl-C."
	@$(PY) -u -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

test: lint  ## lint, unit tests, and every chapter on mnist_small
	@echo "[test] Unit tests: about 3 minutes."
	@$(PY) -m pytest tests
	@echo "[test] Every chapter on mnist_small: about 4 minutes."
	@ROBUSTLIB_DATASET=mnist_small $(NBVAL) notebooks

test-mnist: .venv/complete  ## every chapter on the whole of MNIST
	@echo "[test-mnist] Every chapter on mnist: about 12 minutes."
	@ROBUSTLIB_DATASET=mnist $(NBVAL) notebooks

NBVAL := $(PY) -m pytest -p tests.notebook_seconds --nbval-lax --nbval-cell-timeout=300

lint: .venv/complete  ## check with ruff, notebooks too
	@echo "[lint] Ruff: a second."
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

format: .venv/complete  ## format with ruff, notebooks too
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .
