# `make help` lists the targets. Nothing is written outside this folder: packages go into .venv (and
# .venv-colab, .venv-bench, .venv-browser), what is kept between runs into .cache, the book into _build.

PYTHON ?=
REPOSITORY ?=
PAGES ?=
PORT ?= 0
DATASET := mnist

PY := .venv/bin/python
NBVAL := -m pytest -p tests.notebook_seconds --nbval-lax --nbval-cell-timeout=300 notebooks
# Two processes. Each begins with one half of the tests, so that what tests of a file share is
# mostly compiled once, and takes over from the other when it is through; a chapter stays whole.
SHARED_TESTS := -n 2 --dist worksteal
SHARED_CHAPTERS := -n 2 --dist loadfile --no-loadscope-reorder
CACHE := $(CURDIR)/.cache
$(shell mkdir -p "$(CACHE)/tmp")

export IPYTHONDIR := $(CACHE)/ipython
export JAX_COMPILATION_CACHE_DIR := $(CACHE)/jax
export JAX_DEFAULT_MATMUL_PRECISION := highest
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0
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
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help env book serve test test-mnist test-gpu test-colab test-browser bench pdf results lint format lock publish

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-17s %s\n", $$1, $$2}'

env: .venv/complete  ## make .venv (PYTHON=/path/to/python3.12 to choose the Python)

# The stamps come last, so an installation that was interrupted is begun again.
.venv/complete: requirements.txt
	@PYTHON="$(PYTHON)" sh tools/make_venv.sh .venv $<
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "[env] .venv is ready."

.venv-colab/complete: tests/colab/requirements.txt
	@VERSIONS=3.13 sh tools/make_venv.sh .venv-colab $<
	@touch $@

.venv-bench/complete: benchmarks/requirements.txt benchmarks/torch.txt
	@PYTHON="$(PYTHON)" sh tools/make_venv.sh .venv-bench $<
	@echo "[env] PyTorch, the build that pip finds for this machine: on Linux up to several GB."
	@echo "[env] Of torchattacks pip will say that two needs are not met: benchmarks/overrides.txt."
	@.venv-bench/bin/python -m pip install --quiet --requirement benchmarks/torch.txt
	@touch $@

.venv-browser/complete: tests/browser/requirements.txt
	@PYTHON="$(PYTHON)" sh tools/make_venv.sh .venv-browser $<
	@touch $@

book: .venv/complete  ## execute the chapters on MNIST and build _build/html/index.html
	@echo "[book] Executing every chapter and building the pages: 10 to 15 minutes the first time."
	@start=$$(date +%s); \
		ROBUSTLIB_DATASET=$(DATASET) .venv/bin/jupyter-book build . --all -W -n --keep-going \
		&& $(PY) tools/check_pages.py \
		&& echo "[book] Built in $$(( $$(date +%s) - start )) seconds."
	@echo "[book] Done: open _build/html/index.html, or type make serve."

serve:  ## show the built book at a local address (PORT=8000 to choose the port)
	@test -f _build/html/index.html || { echo "There is no book yet: type make book first."; exit 1; }
	@echo "[serve] Ctrl-C stops it."
	@$(PY) -u -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

# The tests compile many programs that run for a moment. With XLA optimising less, make test takes a
# quarter less time. make book, make test-colab and the weekly run leave XLA as readers have it.
test: export XLA_FLAGS := --xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false
test: lint  ## lint, unit tests, every chapter on mnist_small
	@echo "[test] Unit tests: 6 to 13 minutes."
	@$(PY) -m pytest $(SHARED_TESTS)
	@echo "[test] Every chapter on mnist_small, two at a time: 4 to 6 minutes."
	@ROBUSTLIB_DATASET=mnist_small $(PY) $(NBVAL) $(SHARED_CHAPTERS)
	@echo "[test] Left out: make test-browser, which needs a browser and the built book,"
	@echo "[test] make test-colab, which needs Python 3.13, make test-gpu, which needs a GPU,"
	@echo "[test] and make test-mnist, the chapters on all of MNIST."

test-mnist: .venv/complete  ## every chapter on the whole of MNIST
	@echo "[test-mnist] Every chapter on mnist: about 12 minutes."
	@ROBUSTLIB_DATASET=mnist $(PY) $(NBVAL)

# JAX_PLATFORMS=cuda makes JAX itself refuse anything but the GPU. An interpreter that is given is
# used as it is: robustlib comes from this folder, and with no address to get it from, no set-up
# cell can install it.
GPU_PY := $(or $(PYTHON),$(PY))
test-gpu: export JAX_PLATFORMS := cuda
test-gpu: export PYTHONDONTWRITEBYTECODE := 1
test-gpu: export PYTHONPATH := $(CURDIR):$(PYTHONPATH)
test-gpu: export ROBUSTLIB_REPOSITORY :=
test-gpu: $(if $(PYTHON),,.venv/complete)  ## every chapter on a GPU (PYTHON=... for a Python with its own JAX)
	@"$(GPU_PY)" tools/check_gpu.py
	@"$(GPU_PY)" $(NBVAL)

test-colab: .venv/complete  ## every chapter as on Colab: its versions, robustlib from the set-up cell
	@if VERSIONS=3.13 sh tools/find_python.sh >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory .venv-colab/complete && $(PY) tests/colab/run.py; \
	else \
		echo "[test-colab] Skipped: Colab has Python 3.13, and none that works was found here."; \
	fi

BROWSER := .venv-browser/bin/python -m pytest -c tests/browser/pytest.ini \
	--rootdir tests/browser --confcutdir tests/browser -n 2 tests/browser
test-browser: .venv/complete .venv-browser/complete  ## the built pages in Chromium, without a window
	@test -f _build/html/index.html || { echo "There is no book yet: type make book first."; exit 1; }
	@sh tools/find_chromium.sh >/dev/null
	@$(PY) -m tests.browser.reference "$(CACHE)/playground.npz"
	@PLAYGROUND_REFERENCE="$(CACHE)/playground.npz" $(BROWSER)

pdf: .venv-browser/complete  ## print the built pages into _build/book.pdf
	@test -f _build/html/index.html || { echo "There is no book yet: type make book first."; exit 1; }
	@sh tools/find_chromium.sh >/dev/null
	@.venv-browser/bin/python tools/book_pdf.py _build/book.pdf

bench: .venv-bench/complete  ## measure robustlib beside other libraries
	@echo "[bench] Running the benchmarks: about 25 minutes; leave the machine alone meanwhile."
	@.venv-bench/bin/python -m benchmarks

results: .venv/complete  ## compute the long results again, results/*.json
	@echo "[results] Training and attacking: 60 to 80 minutes; leave the machine alone meanwhile."
	@$(PY) -m results

lint: .venv/complete  ## check with ruff, notebooks too
	@echo "[lint] Ruff."
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

format: .venv/complete  ## format with ruff, notebooks too
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

COMPILE := .cache/uv/bin/uv pip compile --quiet --universal --generate-hashes
lock: .venv/complete  ## pin requirements.in again, and the lists of the other environments
	@test -x .cache/uv/bin/uv || { $(PY) -m venv .cache/uv && .cache/uv/bin/python -m pip install --quiet uv; }
	$(COMPILE) --python-version 3.11 requirements.in -o requirements.txt
	sed -nE '/^(setuptools|wheel)==/,/[^\\]$$/p' requirements.txt > build-requirements.txt
	$(COMPILE) --python-version 3.11 --overrides benchmarks/overrides.txt \
		benchmarks/requirements.in -o benchmarks/requirements.txt
	$(COMPILE) --python-version 3.13 tests/colab/requirements.in -o tests/colab/requirements.txt
	$(COMPILE) --python-version 3.11 tests/browser/requirements.in -o tests/browser/requirements.txt

publish: .venv/complete  ## fill in the address: make publish REPOSITORY=https://github.com/OWNER/NAME
	@$(PY) tools/publish.py "$(REPOSITORY)" "$(PAGES)"
