# make demo | make test | make test-slow | make check | make docs | make resolve
# Every target sets itself up: .venv is made once, and installed anew only when pyproject.toml or constraints.txt changes.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
EXTRAS := train,serve,dev
# The fast tests, a file to each of up to four processes.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile
# [reference] builds one of its scorers, which needs a C compiler and Python's headers; without them its tests skip.
HEADER := import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path("include"), "Python.h"))

.PHONY: demo test test-slow check docs resolve install

demo: install
	$(PY) recipes/demo.py --output_dir demo

test: install
	$(PY) -m pytest -q $(SIDE_BY_SIDE)

test-slow: install
	$(PY) -m pytest -q -m slow

check: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# docs/options.md, from the options classes.
docs: install
	$(PY) docs/write_options.py

# Do the pinned versions fit together on the newest Python we support?
resolve: install
	$(PY) -m uv pip compile --quiet pyproject.toml --extra train --extra serve --extra fetch --extra reference --extra ray --extra trace --extra client --extra dev \
	    --constraint constraints.txt --python-version 3.13 --output-file /dev/null
	@echo "constraints.txt resolves for Python 3.13"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --constraint constraints.txt uv
	@extras=$(EXTRAS); \
	if command -v cc >/dev/null && test -e "$$($(PY) -c '$(HEADER)')"; then extras=$$extras,reference; fi; \
	$(PY) -m uv pip install --quiet --python $(PY) --constraint constraints.txt --editable ".[$$extras]"
	@touch $(STAMP)
