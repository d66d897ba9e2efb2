# The few targets people type. Each one installs what it needs first (lab/bootstrap.sh: quick when nothing is missing).
# ARGS is passed on: make test ARGS="-k console -x"

SHELL := /bin/bash
PYTHON := .venv/bin/python
ARGS ?=
# Tests wait more than they work: three at once are quicker than one on two cores. WORKERS=0: in this process.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test check soak bench down lock format

help:  ## What can be typed here
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo:  ## A cloud on this machine, up to an instance that answers (with KUBECONFIG set: on that cluster)
	@lab/bootstrap.sh $(if $(KUBECONFIG),--kubectl)
	@$(PYTHON) -m lab --name demo demo $(ARGS)

test:  ## All tests but the long ones
	@lab/bootstrap.sh
	@$(PYTHON) -m pytest --ignore=tests/soak --ignore=tests/bench -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

soak:  ## The tests that run long (SOAK_SECONDS=1200 bounds them)
	@lab/bootstrap.sh
	@$(PYTHON) -m pytest tests/soak $(ARGS)

bench:  ## Measurements: ratios and counts
	@lab/bootstrap.sh --bench
	@$(PYTHON) -m pytest tests/bench -s $(ARGS)

check:  ## Format, lint, types, import contracts, generated files, chart
	@lab/bootstrap.sh --helm
	@lab/check.sh

format:  ## Rewrite the Python files the way `make check` wants them
	@lab/bootstrap.sh --python
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lock:  ## Make requirements.lock anew from pyproject.toml
	@lab/bootstrap.sh --python
	@lab/lock.sh

down:  ## End the demo's and the tests' labs: no process, namespace, bridge or mount is left
	@lab/bootstrap.sh --python
	@$(PYTHON) -m lab --name demo down
	@for lab in test $(notdir $(wildcard /var/lib/stratiform-lab/test-*)); do $(PYTHON) -m lab --name $$lab down; done
