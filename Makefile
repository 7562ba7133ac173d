# make test    set up, then check the code and run the tests
# make demo    set up, then train and measure pose control; writes runs/demo/report.html and metrics.json
# make setup   set up alone: a virtual environment in .venv with everything installed, about 6 GB
# make format  let ruff reorder imports and lay out the code
#
# PYTHON=python3.12 chooses the interpreter of a new environment, VENV=folder where it lies, WORKERS=n how many processes run
# the tests, DEMO='--option value' adds options to the demo's command.

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python3.14 python, \
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV ?= .venv
WORKERS ?= 2
DEMO ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: test demo setup lint format
.DEFAULT_GOAL := test

test: lint
	@$(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) --dist loadfile --durations 10

lint: $(INSTALLED)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

demo: $(INSTALLED)
	@$(BIN)/lightning demo $(DEMO)

setup: $(INSTALLED)

format: $(INSTALLED)
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

# Remade when the dependencies change. An interrupted installation leaves no stamp and is taken up again.
$(INSTALLED): pyproject.toml
	@test -x $(BIN)/python || test -n "$(strip $(PYTHON))" || \
		{ echo 'expected Python 3.11 or newer, found none; install one or give make PYTHON=/path/to/python' >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'expected Python 3.11 or newer in $(VENV); remove it and give make PYTHON=/path/to/python' >&2; exit 2; }
	@echo 'installing into $(VENV); the first time this fetches PyTorch and takes some minutes'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
