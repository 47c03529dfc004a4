# libevrpc: `make demo` shows it, `make test` proves it. Everything is built in .venv.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PREFIX ?= /usr/local
SEEDS  ?= 200
# Processes that share a run of the tests, for two cores: most tests wait more than they compute.
JOBS   ?= 2
# Interpreters for `make test-all`; empty: one of each other supported version that is found.
PYTHONS ?=

MYPY_PATHS = $(wildcard libevrpc center tools)
RUFF_PATHS = $(wildcard libevrpc center samples tools unit_test)

# The first usable interpreter, unless PYTHON names one.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

# $(call need,FILE): one line where a target's own program is not there.
need = test -e $(1) || { echo 'make $@ needs $(1), which is not here' >&2; exit 1; }

# Programs start three times as fast where ours are kept compiled; not beside the sources, which
# somebody may want to stay clean.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.DELETE_ON_ERROR:
.PHONY: help demo test test-all check fmt bench sim services install clean python

help:
	@echo 'make demo      three centers, three servers and a client, all of them attacked'
	@echo 'make test      every test, with its coverage gates'
	@echo 'make test-all  the tests without sockets on each other supported python (or PYTHONS=...)'
	@echo 'make check     format, lint, types, import rules, generated code'
	@echo 'make fmt       format the code'
	@echo 'make bench     compare with grpcio (in a venv of its own)'
	@echo 'make sim       simulated clusters: SEEDS=$(SEEDS)'
	@echo 'make services  Debian packages that further tests talk to'
	@echo 'make install   the program under PREFIX=$(PREFIX)'
	@echo 'make clean     remove what was built'

python:
	@test -n '$(PYTHON)' || { \
	  echo 'libevrpc needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python' >&2; exit 1; }
	@command -v '$(PYTHON)' >/dev/null || { echo 'no such program: PYTHON=$(PYTHON)' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'libevrpc needs Python 3.11 or newer; $(PYTHON) is older' >&2; exit 1; }
	@'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo '$(PYTHON) lacks the venv module: on Debian, apt-get install python3-venv' >&2; exit 1; }

$(STAMP): setup.cfg pyproject.toml | python
	@test -x $(BIN)/python || '$(PYTHON)' -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,cli,crc,http,zk]'
	@touch $@

demo: $(STAMP)
	@$(call need,tools/demo.py)
	@$(BIN)/python tools/demo.py

test: $(STAMP)
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -p tools.coverage_gate \
	  -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(ARGS)

test-all: $(STAMP)
	@set -e; for python in $(or $(PYTHONS),$$($(BIN)/python tools/find_pythons.py)); do \
	  tools/test_on.sh "$$python" $(ARGS); done

check: $(STAMP)
	$(BIN)/ruff format --check $(RUFF_PATHS)
	$(BIN)/ruff check $(RUFF_PATHS)
	$(BIN)/mypy $(MYPY_PATHS)
	@set -e; for sample in $(sort $(wildcard samples/*/)); do \
	  echo "$(BIN)/mypy $$sample"; $(BIN)/mypy "$$sample"; done
	$(BIN)/lint-imports --no-logo
	@$(call need,tools/gen_proto.py)
	$(BIN)/python tools/gen_proto.py --check

fmt: $(STAMP)
	$(BIN)/ruff format $(RUFF_PATHS)
	$(BIN)/ruff check --fix $(RUFF_PATHS)

bench: $(STAMP)
	@$(call need,tools/bench_compare.py)
	@test -x .venv-bench/bin/python || '$(PYTHON)' -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --editable '.[bench]'
	@.venv-bench/bin/python tools/bench_compare.py $(ARGS)

sim: $(STAMP)
	@$(call need,center/sim/__main__.py)
	@$(BIN)/python -m center.sim --seeds $(SEEDS) $(ARGS)

services:
	@tools/install_services.sh

# A venv of its own: no file of the system's Python is touched.
install: python
	'$(PYTHON)' -m venv '$(PREFIX)/lib/libevrpc'
	'$(PREFIX)/lib/libevrpc/bin/python' -m pip install --quiet --upgrade '.[cli,crc,http,zk]'
	mkdir -p '$(PREFIX)/bin'
	ln -sf ../lib/libevrpc/bin/libevrpc '$(PREFIX)/bin/libevrpc'

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info htmlcov .coverage* .pytest_cache .mypy_cache \
	  .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
