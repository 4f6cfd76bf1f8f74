# make demo | make test | make test-slow | make check
# Every target sets itself up: .venv is made once, and again only when pyproject.toml or constraints.txt changes.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.PHONY: demo test test-slow check install constraints-3.13 clean

$(STAMP): pyproject.toml constraints.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --constraint constraints.txt uv
	@$(PY) -m uv pip install --quiet --python $(PY) --constraint constraints.txt --editable ".[train,serve,dev]"
	@touch $(STAMP)

install: $(STAMP)
