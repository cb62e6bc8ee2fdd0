# Everything from a fresh checkout: `make run`, `make demo` and `make test` do all set-up themselves.

BIN := .venv/bin
# One test process a core, but not more than four: the tests start servers of their own.
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 4 --dist worksteal
# `make run ARGS="--port 9000"`
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run demo test fuzz soak containers lint format docs lock sbom clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## make .venv with everything in it (quick when it is there)
	@scripts/setup.sh

run: setup ## serve on http://127.0.0.1:8000, and answer one real observation as soon as it is ready
	@$(BIN)/deceptron serve --demo $(ARGS)

demo: setup ## start the service, answer one real observation, stop
	@$(BIN)/deceptron demo $(ARGS)

test: lint ## check style and types, then run all tests
	$(BIN)/pytest $(PYTEST_ARGS)

fuzz: setup ## long: fuzz a live service and the readers of bodies; writes docs/results/fuzz.md
	$(BIN)/python -m tests.fuzz $(ARGS)

soak: setup ## long: kills, cuts and drains under load, crowds of clients; writes docs/results/soak.md
	$(BIN)/python -m tests.faults.soak --out docs/results $(ARGS)

containers: setup ## long: build the CPU image, run docker-compose.yml, kill and restart its parts (needs Docker)
	$(BIN)/python -m tests.docker.containers $(ARGS)

lint: setup ## check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy docker/grafana/boards.py

format: setup ## put the code into style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## build the documentation into build/site
	$(BIN)/zensical build --strict --clean

lock: ## pin every package of the images by hash (after pyproject.toml has changed)
	scripts/lock.sh

sbom: ## what the images hold, as CycloneDX: build/sbom-*.json
	scripts/lock.sh sbom

clean: ## remove the environment and everything made from the source (jobs and data stay)
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
