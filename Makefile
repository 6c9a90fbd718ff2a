# Needs make and Python 3.11 or newer. Everything else is installed into .venv, once, from the locks.

VENV := .venv
BIN := $(VENV)/bin
OLDEST_TO_NEWEST := 3.11 3.12 3.13
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
CLIENTS := openai2 openai3 litellm requests
PROMTOOL ?= promtool
# More than two cores need: many tests wait, for a process or a pause.
PYTEST_ARGS ?= -n 3 --dist worksteal

# Tests must not see the keys, or the settings, of the person who runs them.
CLEAN_ENV := env -u AIML_API_KEY $$(env | sed -n -e 's/^\(REELAY_[A-Za-z0-9_]*\)=.*/-u \1/p' -e 's/^\(OTEL_[A-Z_]*\)=.*/-u \1/p')

export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP_INSTALL := $(BIN)/python -m pip install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-tools test-browser test-clients test-pythons check check-alerts image bench simulate torture lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.ready ## Make a video with the sandbox, free of charge (REAL=1: with the real upstream, for money)
	@$(BIN)/reelay demo $(if $(REAL),--real)

serve: $(VENV)/.ready ## Start Reelay on 127.0.0.1:8000, with the sandbox unless an upstream key is set
	@key="$$REELAY_UPSTREAM_API_KEY$$REELAY_UPSTREAM_API_KEY_FILE$$AIML_API_KEY$$AIML_API_KEY_FILE"; \
		if [ -n "$$key" ]; then exec $(BIN)/reelay serve; else exec $(BIN)/reelay serve --sandbox; fi

test: $(VENV)/.ready-dev ## Run the tests (PYTEST_ARGS=tests/db: only these, in one process)
	@$(CLEAN_ENV) $(BIN)/python -m pytest $(PYTEST_ARGS)

test-tools: $(VENV)/.ready-dev ## Run the tests of what lies in bench/ and torture/
	@$(CLEAN_ENV) $(BIN)/python -m pytest $(PYTEST_ARGS) tests/tools/check_*.py

test-clients: $(VENV)/.ready-dev $(CLIENTS:%=$(VENV)/clients/%/.ready) ## Run the newest OpenAI SDKs, LiteLLM and programs for the AI/ML API against the sandbox
	@$(CLEAN_ENV) CLIENT_ENVIRONMENTS=$(CURDIR)/$(VENV)/clients $(BIN)/python -m pytest tests/clients/check_clients.py

test-browser: $(VENV)/.ready-dev ## Visit a sandbox service with headless Chromium, from pages of two origins (CHROMIUM=/path: with that one)
	@$(BIN)/python -m tests.browser.chromium
	@$(CLEAN_ENV) $(BIN)/python -m pytest tests/browser/check_*.py

# A name may be a shim without a Python behind it: each is asked. ~/.pyenv has what pyenv installed and did not choose.
test-pythons: ## Run the guard's vectors and the unit tests on Python 3.11, 3.12 and 3.13, those that are here
	@found=""; \
	for version in $(OLDEST_TO_NEWEST); do \
		python=""; \
		for name in python$$version "$$HOME"/.pyenv/versions/$$version.*/bin/python; do \
			if [ -z "$$python" ] && "$$name" -c 'import ensurepip, venv' 2>/dev/null; then python=$$name; fi; \
		done; \
		if [ -z "$$python" ]; then echo "Python $$version: not found here, not tested"; continue; fi; \
		found="$$found $$version"; \
		echo "Python $$version: $$("$$python" -c 'import sys; print(sys.version.split()[0])') at $$python"; \
		$(MAKE) --no-print-directory $(VENV)/pythons/$$version/.ready ON="$$python" && \
			$(CLEAN_ENV) $(VENV)/pythons/$$version/bin/python -m pytest tests/outbound tests/unit || exit 1; \
	done; \
	[ -n "$$found" ] || { echo "None of Python $(OLDEST_TO_NEWEST) is here." >&2; exit 1; }; \
	echo "Tested on Python$$found"

check: $(VENV)/.ready-dev ## Check style, types, import contracts, the Dockerfile and that the migrations are up to date
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile .ci/stand-in/postgres.Dockerfile
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		$(CLEAN_ENV) REELAY_DATA_DIR="$$folder" sh -c "$(BIN)/reelay migrate && $(BIN)/reelay migrate --check"

check-alerts: ## Check the alert rules with promtool, of Debian's prometheus (PROMTOOL=/path: with that one)
	@if ! command -v $(PROMTOOL) >/dev/null; then \
		echo "NOT CHECKED: there is no $(PROMTOOL). Install Debian's prometheus, or name one: make check-alerts PROMTOOL=/path/to/promtool"; \
	else \
		$(PROMTOOL) check config --syntax-only ops/prometheus/prometheus.yml && \
		$(PROMTOOL) check rules ops/prometheus/reelay.rules.yml && \
		$(PROMTOOL) test rules ops/prometheus/reelay.rules.test.yml; \
	fi

image: $(VENV)/.ready-dev ## Build the container image and run it as docker-compose.yml does (CONTRIBUTING.md says with what)
	@$(CLEAN_ENV) .ci/image

bench: $(VENV)/.ready-dev ## Measure every goal in six to seven minutes (BENCH=claim: only that, for longer)
	@$(if $(or $(filter peer,$(BENCH)),$(if $(BENCH),,all)),$(MAKE) --no-print-directory $(VENV)/clients/proxy/.ready || true)
	@$(CLEAN_ENV) CLIENT_ENVIRONMENTS=$(CURDIR)/$(VENV)/clients $(BIN)/python -m bench $(BENCH) $(if $(BENCH_ROWS),--rows $(BENCH_ROWS)) $(BENCH_ARGS)

simulate: $(VENV)/.ready-dev ## Lead a million jobs through a hundred workers in virtual time, in two minutes (SIMULATE_ARGS="--places 20000")
	@$(BIN)/python -m bench.simulate $(SIMULATE_ARGS)

torture: $(VENV)/.ready-dev ## Kill, stall and fail workers at every commit and every call, then count purchases (TORTURE_ARGS=--seed 7)
	@$(CLEAN_ENV) $(BIN)/python -m torture $(TORTURE_ARGS)

lock: $(BIN)/pip ## Write the locks anew, keeping versions where possible (UPGRADE=1: take the newest)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		$(BIN)/python -m venv "$$folder" && "$$folder/bin/pip" install --quiet uv && \
		compile() { "$$folder/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) "$$@" pyproject.toml; } && \
		compile --extra build --extra dev --extra otel --output-file requirements-dev.lock && \
		compile --extra build --constraint requirements-dev.lock --output-file requirements.lock && \
		compile --extra build --extra otel --constraint requirements-dev.lock --output-file requirements-otel.lock

clean: ## Remove what was installed and cached; data/ stays
	@rm -rf $(VENV) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing to appear in a new environment: one that was cut short is made again.
$(BIN)/pip:
	@for python in $(PYTHONS); do \
		if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$python" -m venv $(VENV); \
		fi; \
	done; \
	echo "Reelay needs Python 3.11 or newer with its venv module; none of these is: $(PYTHONS)." \
		"Install it (Debian, Ubuntu: python3-venv), or name one: make PYTHON=/path/to/python3" >&2; exit 1

# The clients of test-clients, and what BENCH=peer measures, each by itself and at its newest: 2.x and 3.x of one package
# do not live together.
$(VENV)/clients/openai2/.ready: CLIENT := 'openai>=2,<3'
$(VENV)/clients/openai3/.ready: CLIENT := 'openai>=3,<4'
$(VENV)/clients/litellm/.ready: CLIENT := litellm
$(VENV)/clients/requests/.ready: CLIENT := requests
$(VENV)/clients/proxy/.ready: CLIENT := 'litellm[proxy]'
$(VENV)/clients/%/.ready: | $(BIN)/pip
	@echo "Installing $(CLIENT) ..."
	@$(BIN)/python -m venv $(@D) && $(@D)/bin/python -m pip install --quiet $(CLIENT)
	@touch $@

$(VENV)/pythons/%/.ready: requirements-dev.lock requirements.lock
	@echo "Installing for Python $* ..."
	@"$(ON)" -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(@D)/bin/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

# The stamps: what is installed is not looked at again until its lock, or pyproject.toml, changes.
$(VENV)/.locked: requirements.lock | $(BIN)/pip
	@echo "Installing into $(VENV) ..."
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.ready: $(VENV)/.locked pyproject.toml
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock $(VENV)/.ready
	@echo "Installing what tests and checks need ..."
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
