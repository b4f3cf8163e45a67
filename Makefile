# Everything a person runs. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# HR data stays in the house: no library reports home.
export DO_NOT_TRACK := true
export GX_ANALYTICS_ENABLED := false
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false

# A company that turns after three months, with outcomes after three months instead of twelve: they come back within the run.
COMPANY := --history 12 --applications 2000 --change 3 --milestone 3 --weeks 1
SMALL_PROOF := --policies static,loop --scenarios drift --seeds 3 --months 16 $(COMPANY) --workers 3
FULL_PROOF := --policies static,loop --scenarios steady,drift,reversal,base-rate,corrupted-labels \
	--seeds 5 --months 18 $(COMPANY)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make the virtual environment and install what is pinned

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@python=$${PYTHON:-}
	for name in python3 python3.13 python3.12 python3.11; do
		[ -n "$$python" ] && break
		$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && python=$$name
	done
	[ -n "$$python" ] || { echo "hrloop needs Python 3.11, 3.12 or 3.13; set PYTHON=/path/to/python3" >&2; exit 1; }
	if command -v uv >/dev/null; then
		uv venv --quiet --allow-existing --python "$$(command -v $$python)" $(VENV)
		uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.txt requirements-dev.txt
	else
		$$python -m venv $(VENV) || { echo "no venv for $$python: install python3-venv" >&2; exit 1; }
		echo "Installing the pinned packages (about two minutes) …"
		# The lock is complete: with --no-deps pip checks hashes and leaves the resolving alone.
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
			-r requirements.txt -r requirements-dev.txt
	fi
	# The engine itself is run from the checkout; the pinned setuptools links it.
	installer=($(BIN)/python -m pip install --quiet --disable-pip-version-check)
	if command -v uv >/dev/null; then installer=(uv pip install --quiet --python $(BIN)/python); fi
	"$${installer[@]}" --no-deps --no-build-isolation --editable .
	touch $@

demo: setup  ## run the whole loop on practice exports and print a summary
	@$(BIN)/python -m demo

test: setup lint  ## run all tests, on real components
	@$(BIN)/pytest

lint: setup  ## check style of Python and SQL
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --disable-progress-bar -q dbt/models dbt/tests

bench: setup  ## measure speed and memory beside their references (SIZES="10000 100000", JSON=1)
	@$(BIN)/python -m benchmarks $(if $(SIZES),--sizes $(SIZES)) $(if $(JSON),--json)

proof: setup  ## replay the loop beside a model that stands still, and write the page (FULL=1: what docs/replay.md tells, hours)
	@$(BIN)/hrloop replay recruitment $(if $(FULL),$(FULL_PROOF),$(SMALL_PROOF))

figures: setup  ## measure and draw anew the figures of docs/
	@$(BIN)/python docs/figures/calibration_shift.py
	$(BIN)/python docs/figures/real_data.py
	$(BIN)/python docs/figures/memory.py

up: setup  ## keep Postgres, MLflow and Airflow running; print where and how to log in
	@$(BIN)/hrloop up

down:  ## stop every process that `make up` or `make demo` started, and no other
	@$(BIN)/hrloop down

status: setup  ## what came in, what was decided, what became of it
	@$(BIN)/hrloop status

lock: setup  ## resolve requirements*.in anew into the hash-pinned requirements*.txt (needs uv)
	@for name in requirements requirements-dev; do
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
			--custom-compile-command "make lock" $$name.in -o $$name.txt
	done

clean:  ## delete the virtual environment and, after asking, the state in .hrloop
	@if [ -d .hrloop ]; then
		read -r -p "Delete .hrloop with its database, models and secrets? [y/N] " answer
		[ "$$answer" = y ] && { $(BIN)/hrloop down; rm -rf .hrloop; }
	fi
	rm -rf $(VENV) .pytest_cache .ruff_cache

.PHONY: help setup demo test lint bench proof figures up down status lock clean
