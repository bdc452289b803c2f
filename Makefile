# Everything a checkout needs: `make dev` and `make test` set themselves up on a fresh machine.

.DEFAULT_GOAL := help
.PHONY: help install dev docs test unit contract e2e cover newest property fuzz fmt lint bench mutants chaos differential lock manifests images scaling swaggerui clean
.DELETE_ON_ERROR:

BIN := .venv/bin
# Written last: an interrupted installation is repeated.
INSTALLED := .venv/.installed
# The tools of tests/deploy. No other target needs them.
TOOLS := .venv/.tools
# What builds the site of docs/.
DOCS := .venv/.docs
# Tests start hundreds of processes, each of which would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
# Called, not only found on PATH: a version manager puts a placeholder there.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo $$python; break; }; done)
# What `make cover` runs by default.
TESTS ?= tests/unit tests/contract tests/worker tests/api
COMPILE = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header $(ARGS)

# The npm package, and npm's hash of it.
SWAGGER_UI = 5.35.0
SWAGGER_UI_SHA512 = U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==
SWAGGER_UI_FOLDER = api/millstream/api/http/swagger_ui

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Create .venv and install everything from the hash lock

dev: $(INSTALLED)  ## Run the example graphs: Redis, API and worker (ARGS="--port 2025")
	@$(BIN)/millstream dev --config examples/langgraph.json $(ARGS)

docs: $(DOCS)  ## Build the site of these documents and serve it (ARGS="--port 8001", ARGS=--once)
	PYTHONPATH=tests $(BIN)/python -m docsite $(ARGS)

test: $(TOOLS)  ## Run all tests (ARGS="-k name")
	$(BIN)/pytest -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

unit: $(INSTALLED)  ## Run the tests of rules and parts: a minute (ARGS="-k name")
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder tests/unit tests/house tests/golden tests/differential $(ARGS)

contract: $(INSTALLED)  ## Run the tests of the Redis scripts (ARGS="-k name")
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder tests/contract $(ARGS)

e2e: $(INSTALLED)  ## Run the tests with real processes and SDKs (ARGS="-k name")
	$(BIN)/pytest -n 3 --dist loadgroup --no-loadscope-reorder tests/e2e tests/chaos $(ARGS)

cover: $(INSTALLED)  ## Run the tests but e2e and print the coverage; fails below the floor (TESTS="tests/unit")
	rm -rf build/coverage
	mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -n 2 --dist loadgroup --no-loadscope-reorder $(TESTS) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

newest: $(INSTALLED)  ## Run the tests of the SDKs against the newest ones that are published
	rm -rf build/newest
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target build/newest/python langgraph-sdk
	cp -R tests/js build/newest/js
	rm -rf build/newest/js/node_modules
	cd build/newest/js && npm install --silent --no-save @langchain/langgraph-sdk@latest \
		@langchain/react@latest @ag-ui/langgraph@latest
	PYTHONPATH=build/newest/python JS_SCRIPTS=build/newest/js $(BIN)/pytest -s tests/e2e/sdk_surface $(ARGS)

property: $(INSTALLED)  ## Compare the checkpointer with LangGraph's own, strategies with a model, records with states, over many random examples
	CHECKPOINT_EXAMPLES=10000 STRATEGY_EXAMPLES=2000 RECORD_EXAMPLES=2000 $(BIN)/pytest \
		tests/worker/test_saver_property.py tests/contract/test_strategy_model.py \
		tests/worker/test_record_property.py $(ARGS)

fuzz: $(INSTALLED)  ## Send random requests to every route, command and method for 5 minutes (FUZZ_SECONDS=60 FUZZ_SEED=7)
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),300) $(BIN)/pytest -s tests/api/test_fuzz.py $(ARGS)

fmt: $(INSTALLED)  ## Format the code, and fix what ruff can fix by itself
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

lint: $(INSTALLED)  ## Check style, formatting, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## Measure latency, throughput and CPU per run
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

mutants: $(INSTALLED)  ## Change scripts and rules in one place at a time; fails if no test notices (ARGS="--only claim")
	PYTHONPATH=tests $(BIN)/python -m mutants $(ARGS)

chaos: $(INSTALLED)  ## Kill, freeze and cut everything for 10 minutes; fails on any loss (ARGS="--seed 7")
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

differential: $(INSTALLED)  ## Compare with another server of the API (REFERENCE=URL, ARGS="--only sends")
	PYTHONPATH=tests $(BIN)/python -m differential --reference "$(REFERENCE)" $(ARGS)

lock: $(BIN)/uv  ## Write the lock files again (ARGS="--upgrade" for newer versions)
	$(COMPILE) pyproject.toml --all-extras --group dev --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra api --extra jwt --extra encryption --extra mcp --extra a2a --extra metrics --extra otel --constraints requirements.lock \
		--output-file deploy/api.lock
	$(COMPILE) pyproject.toml --extra worker --extra store --extra encryption --extra metrics --extra otel --constraints requirements.lock \
		--output-file deploy/worker.lock
	$(COMPILE) --group tools --constraints requirements.lock --output-file tools.lock
	$(COMPILE) --group docs --constraints tools.lock --output-file docs.lock
	printf 'hatchling\n' | $(COMPILE) - --constraints requirements.lock \
		--output-file deploy/build.lock

manifests: $(TOOLS)  ## Write deploy/kustomize from the Helm chart
	PYTHONPATH=tests $(BIN)/python -m deploy.manifests

images: $(INSTALLED)  ## Build the environments of both images in an empty folder, run and measure them
	PYTHONPATH=tests $(BIN)/python -m deploy.images

scaling: $(TOOLS)  ## Draw docs/pictures/scaling.svg: the figures of GET /ops/scaling, and the workers that they lead to
	PYTHONPATH=tests $(BIN)/python -m deploy.scaling_plot

swaggerui:  ## Unpack the pinned Swagger UI again, which is the page of /docs
	rm -rf build/swagger-ui
	mkdir -p build/swagger-ui
	cd build/swagger-ui && npm pack --silent swagger-ui-dist@$(SWAGGER_UI) && tar -xzf *.tgz
	test "$$(openssl dgst -sha512 -binary build/swagger-ui/*.tgz | base64 | tr -d '\n')" = "$(SWAGGER_UI_SHA512)"
	for file in swagger-ui-bundle.js swagger-ui.css; do \
		gzip -9 -n < build/swagger-ui/package/$$file > $(SWAGGER_UI_FOLDER)/$$file.gz || exit 1; done
	cp build/swagger-ui/package/LICENSE build/swagger-ui/package/NOTICE \
		build/swagger-ui/package/swagger-ui-bundle.js.LICENSE.txt $(SWAGGER_UI_FOLDER)/

clean:  ## Remove .venv, caches and builds; the data in .millstream stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find api worker shared tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/pip
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@touch $@

$(TOOLS): tools.lock $(INSTALLED)
	@echo "Installing the tools of the tests into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools.lock
	@touch $@

$(DOCS): docs.lock $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs.lock
	@touch $@

# pip comes last when a .venv is made: without it, it is incomplete.
$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none is on PATH." \
		"If it is elsewhere: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv

$(BIN)/uv: | $(BIN)/pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
