# Run "make help" for the list of targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Made anew when the dependencies change.
READY := $(VENV)/.ready
# The environment of the frameworks that recipes in Python use.
FRAMEWORKS := .run/recipes

# Some images set it; then each gateway that a test starts would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-unit test-integration test-recipes coverage test-faults test-cluster test-isolation test-brokers soak soak-dashboard fuzz lint format docs trip screenshots bench bench-full bench-batch bench-compare bench-docs image test-image deb test-deb broker broker-stop constraints build clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## Set everything up and serve on 127.0.0.1:8000 (PORT=) until Ctrl-C
	@$(BIN)/python scripts/run.py

# More than half of a test's time is waiting: four at once keep two processors busy.
test: $(READY) ## Set everything up and run all tests
	@$(BIN)/python scripts/debian.py --for-tests
	@$(BIN)/python scripts/javascript.py
	@$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

test-unit: $(READY) ## Run the tests that need no broker
	@$(BIN)/pytest tests/unit

test-integration: $(READY) ## Run the tests with a real RabbitMQ, nginx and clients in every language
	@$(BIN)/python scripts/debian.py --for-tests
	@$(BIN)/python scripts/javascript.py
	@$(BIN)/pytest tests/integration

test-recipes: $(READY) $(FRAMEWORKS)/.ready ## Run the recipes of docs/recipes with the real frameworks
	@$(BIN)/python scripts/debian.py --for-recipes
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder tests/recipes

coverage: $(READY) ## Run the unit and integration tests, and report what of each package they reach
	@$(BIN)/python scripts/debian.py --for-tests
	@$(BIN)/python scripts/javascript.py
	@mkdir -p .run/coverage
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest tests/unit tests/integration --deselect tests/integration/test_hot_path.py
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --sort cover
	@$(BIN)/coverage report | awk '/^src/ { split($$1, path, "/"); all[path[3]] += $$2; missed[path[3]] += $$3 } \
		END { for (each in all) printf "%-12s %5d statements, %5.1f %% reached\n", \
			each, all[each], 100 - 100 * missed[each] / all[each] }' | sort

test-faults: $(READY) ## Play every fault under traffic, with three seeds, and count (FAULTS=options)
	@$(BIN)/python tests/faults/fault_suite.py $(FAULTS)

test-cluster: $(READY) ## Kill, stop and part the nodes of a cluster under traffic, and count (CLUSTER=options)
	@$(BIN)/python tests/faults/fault_suite.py --cluster $(CLUSTER)

test-isolation: $(READY) ## Let queues and connections get stuck under traffic, and measure what goes on (ISOLATION=options)
	@$(BIN)/python scripts/debian.py rabbitmq-server
	@NARROW=1 $(BIN)/pytest --capture no --verbose --timeout 1200 $(addprefix tests/integration/,test_stuck_queues.py test_order.py on_three_nodes.py test_isolation.py::test_a_few_refused_topics_beside_many_good_ones) $(ISOLATION)

test-brokers: $(READY) ## Run the broker-facing tests with other RabbitMQs, as root (SUITES="trixie testing")
	@$(BIN)/python tests/brokers.py $(SUITES)

soak: $(READY) ## The same for MINUTES=10 with one seed, with a table and a plot in .run/soak
	@$(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt matplotlib
	@$(BIN)/python tests/faults/fault_suite.py --minutes $(or $(MINUTES),10) --report .run/soak $(FAULTS)

soak-dashboard: $(READY) ## Let the dashboard's page run for HOURS=12, fast-forwarded, and see that it does not grow
	@$(BIN)/python scripts/debian.py chromium
	@$(BIN)/python tests/page/soak.py --hours $(or $(HOURS),12)

fuzz: $(READY) ## Play random and costly bytes against the parsers for MINUTES=1, until one fails
	@$(BIN)/python tests/property/fuzz.py $(or $(MINUTES),1)

lint: $(READY) ## Check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file tests/mypy.ini
	@$(BIN)/python scripts/javascript.py --check

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(READY) ## Write docs/configuration.md and docs/metrics.md from the code
	@$(BIN)/python scripts/document_settings.py
	@$(BIN)/python scripts/document_metrics.py

trip: $(READY) ## Print the files of the package that each kind of request goes through
	@$(BIN)/python scripts/trip.py

screenshots: $(READY) ## Take the pictures of the dashboard anew, with real traffic (a quarter of an hour)
	@$(BIN)/python scripts/debian.py rabbitmq-server chromium fonts-inter pngquant
	@$(BIN)/python tests/page/screenshots.py

bench: $(READY) ## Measure every gateway in turn, in six minutes (BENCH=options)
	@$(BIN)/python bench/bench.py $(BENCH)

bench-full: $(READY) ## The same for longer, and the whole range of loads: about an hour (BENCH=options)
	@$(BIN)/python bench/bench.py --full $(BENCH)

bench-batch: $(READY) ## Measure batches and a stream beside a pipelined AMQP publisher (BENCH=options)
	@$(BIN)/python bench/bench.py batches $(BENCH)

bench-compare: $(READY) ## Compare the newest result with the reference (A=file B=file)
	@$(BIN)/python bench/compare.py $(or $(A),bench/results/reference.json) $(B)

bench-docs: $(READY) ## Write docs/benchmarks.md from the reference (RESULT=file)
	@$(BIN)/python bench/docs.py $(RESULT)

image: $(READY) ## Build the container image into dist/statelessd-image.tar (BASE=image)
	@BASE=$(BASE) $(BIN)/python scripts/image.py

test-image: image ## Build the image, and publish from a container without rights
	@$(BIN)/python scripts/debian.py rabbitmq-server curl
	@$(BIN)/pytest tests/image/container.py

deb: $(READY) ## Build the Debian package into dist/, in a fresh root of SUITE=trixie, as root (REVISION=1)
	@$(BIN)/python scripts/deb.py --suite $(or $(SUITE),trixie) --revision $(or $(REVISION),1)

test-deb: deb ## Build it; install, reload, upgrade, downgrade and purge it in a booted Debian 13
	@$(BIN)/pytest tests/deb/package.py --timeout 3600

broker: $(READY) ## Start the development broker and leave it running (BROKER_SUITE=trixie: of that Debian)
	@$(BIN)/python scripts/broker.py start

broker-stop: $(READY) ## Stop the development broker
	@$(BIN)/python scripts/broker.py stop

build: $(READY) ## Build the wheel and the source distribution into dist/
	@$(BIN)/pip --disable-pip-version-check wheel --quiet --no-deps --constraint constraints.txt --wheel-dir dist .

constraints: $(READY) ## Pin what is installed now in constraints.txt
	@{ sed '/^[^#]/d' constraints.txt; $(BIN)/pip freeze --exclude-editable; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## Remove everything that was built, installed or started here
	@test ! -x $(BIN)/python || for each in .run/broker .run/broker-*; do \
		test ! -d $$each || $(BIN)/python scripts/broker.py stop --run-dir $$each; done
	@rm -rf $(VENV) .run dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "The module venv is needed: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@echo "Installing into $(VENV) …"
	@PIP_CONSTRAINT=constraints.txt $(BIN)/pip --disable-pip-version-check install --quiet --editable '.[compression,otel]' --requirement requirements-dev.txt
	@touch $(READY)

$(FRAMEWORKS)/.ready: tests/recipes/requirements.txt
	@echo "Installing into $(FRAMEWORKS) …"
	@test -x $(FRAMEWORKS)/bin/python || $(PYTHON) -m venv $(FRAMEWORKS)
	@$(FRAMEWORKS)/bin/pip --disable-pip-version-check install --quiet --requirement tests/recipes/requirements.txt
	@touch $@
