# Run "make help" for the list of targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Made anew when the dependencies change: RUNTIME has what the gateway imports, READY also what
# tests and checks do.
RUNTIME := $(VENV)/.runtime
READY := $(VENV)/.ready
# The environment of the frameworks that recipes in Python use.
FRAMEWORKS := .run/recipes
# The environment of what checks the container files.
CONTAINERS := .run/containers
# The environment that builds the site, and the site.
SITE := .run/site
# The environment that builds: what statelessd needs, for the SBOM, and a few tools.
RELEASE := .run/release

# What runs with the compiled form too: faults, random bytes, and the rooms with compiled modules.
COMPILED := $(patsubst %,tests/integration/test_%.py,batch cloud_events compressed edge faults form \
	hot_path listeners mandatory publish reload tokens webhooks) \
	$(addprefix tests/unit/,amqp broker gateway http1 pages parsing telemetry tls test_form.py) \
	tests/property

# Some images set it; then each gateway that a test starts would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run read test test-unit test-integration test-recipes coverage test-faults test-cluster test-isolation test-brokers soak soak-dashboard fuzz lint format docs site test-site trip screenshots bench bench-full bench-batch bench-compare bench-docs image test-image deb test-deb broker broker-stop constraints hashes build compiled test-compiled test-packages clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## Set everything up and serve on 127.0.0.1:8000 (PORT=) until Ctrl-C
	@$(BIN)/python scripts/run.py

read: ## Take one message from QUEUE=test (VHOST=name) and print it; KEEP=1 leaves it there
	@$(PYTHON) scripts/read.py

# More than half of a test's time is waiting: four at once keep two processors busy. The longest
# files are of integration, so these come first, and no worker is alone with one at the end.
test: $(READY) ## Set everything up and run all tests
	@$(BIN)/python scripts/debian.py --for-tests
	@$(BIN)/python scripts/javascript.py
	@$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder tests/integration tests/unit tests/property

test-unit: $(READY) ## Run the tests that need no broker
	@$(BIN)/pytest tests/unit

test-integration: $(READY) ## Run the tests with a real RabbitMQ, nginx and clients in every language
	@$(BIN)/python scripts/debian.py --for-tests
	@$(BIN)/python scripts/javascript.py
	@$(BIN)/pytest tests/integration

test-recipes: $(READY) $(FRAMEWORKS)/.ready ## Run the recipes of docs/how-to/recipes with the real frameworks
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
	@NARROW=1 $(BIN)/pytest --capture no --verbose --timeout 1200 $(addprefix tests/integration/,test_stuck_queues.py test_order.py test_poison.py on_three_nodes.py test_isolation.py::test_a_few_refused_topics_beside_many_good_ones) $(ISOLATION)

test-brokers: $(READY) ## Run the broker-facing tests with other RabbitMQs, as root (SUITES="trixie testing")
	@$(BIN)/python tests/brokers.py $(SUITES)

soak: $(READY) ## The same for MINUTES=10 with a table and a plot in .run/soak; with HOURS=24 a day in MINUTES=30
ifdef HOURS
	@$(BIN)/python tests/faults/day_suite.py --hours $(HOURS) --minutes $(or $(MINUTES),30) --report .run/soak $(DAY)
else
	@$(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt matplotlib
	@$(BIN)/python tests/faults/fault_suite.py --minutes $(or $(MINUTES),10) --report .run/soak $(FAULTS)
endif

soak-dashboard: $(READY) ## Let the dashboard's page run for HOURS=12, fast-forwarded, and see that it does not grow
	@$(BIN)/python scripts/debian.py chromium
	@$(BIN)/python tests/page/soak.py --hours $(or $(HOURS),12)

fuzz: $(READY) ## Play random and costly bytes against the parsers for MINUTES=1, until one fails
	@$(BIN)/python tests/property/fuzz.py $(or $(MINUTES),1)

lint: $(READY) $(CONTAINERS)/.ready site ## Check format, style, types, prose, links and the container files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file tests/mypy.ini
	@$(BIN)/python scripts/javascript.py --check
	@$(BIN)/python scripts/prose.py
	@$(CONTAINERS)/bin/python scripts/containers.py
	@$(CONTAINERS)/bin/pytest --quiet tests/containers

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(READY) ## Write docs/reference/configuration.md and docs/reference/metrics.md from the code
	@$(BIN)/python scripts/document_settings.py
	@$(BIN)/python scripts/document_metrics.py

site: $(SITE)/.ready ## Build the documents as a site with a search, in .run/site/html
	@$(SITE)/bin/sphinx-build -W --keep-going --quiet --builder html docs $(SITE)/html

test-site: $(READY) site ## Open every page of the site in Chromium, without the network
	@$(BIN)/python scripts/debian.py chromium
	@$(BIN)/pytest tests/site

trip: $(READY) ## Print the files of the package that each kind of request goes through
	@$(BIN)/python scripts/trip.py

screenshots: $(READY) ## Take the pictures of the dashboard anew, with real traffic (a quarter of an hour)
	@$(BIN)/python scripts/debian.py rabbitmq-server chromium fonts-inter pngquant
	@$(BIN)/python tests/page/screenshots.py

bench: $(READY) ## Measure ratios in pairs, and every gateway in turn: twenty minutes (BENCH=options)
	@$(BIN)/python bench/bench.py $(BENCH)

bench-full: $(READY) ## The same for longer, and the whole range of loads: an hour and a half (BENCH=options)
	@$(BIN)/python bench/bench.py --full $(BENCH)

bench-batch: $(READY) ## Measure batches and a stream beside a pipelined AMQP publisher (BENCH=options)
	@$(BIN)/python bench/bench.py batches $(BENCH)

bench-compare: $(READY) ## Compare the newest result with the reference (A=file B=file)
	@$(BIN)/python bench/compare.py $(or $(A),bench/results/reference.json) $(B)

bench-docs: $(READY) ## Write docs/explanation/performance.md from the reference (RESULT=file)
	@$(BIN)/python bench/docs.py $(RESULT)

image: $(RUNTIME) ## Build the container image into dist/statelessd-image.tar (BASE=image)
	@BASE=$(BASE) $(BIN)/python scripts/image.py

test-image: $(READY) ## Build both images, and publish from containers without rights (BASE=image)
	@BASE=$(BASE) $(BIN)/python scripts/image.py --for-tests
	@$(BIN)/python scripts/debian.py rabbitmq-server curl
	@$(BIN)/pytest tests/image/container.py

deb: ## Build the Debian package into dist/, in a fresh root of SUITE=trixie, as root (REVISION=1)
	@$(PYTHON) scripts/deb.py --suite $(or $(SUITE),trixie) --revision $(or $(REVISION),1)

test-deb: deb $(READY) ## Build it; install, reload, upgrade, downgrade and purge it in a booted Debian 13
	@$(BIN)/pytest tests/deb/package.py --timeout 3600

broker: ## Start the development broker and leave it running (BROKER_SUITE=trixie: of that Debian)
	@$(PYTHON) scripts/broker.py start

broker-stop: ## Stop the development broker
	@$(PYTHON) scripts/broker.py stop

build: $(RELEASE)/.ready ## Build the wheels and the source distribution into dist/, with hashes, SBOM and licences
	@$(RELEASE)/bin/python scripts/build.py

compiled: $(READY) ## Compile the working tree into .run/compiled: run it with PYTHONPATH=.run/compiled
	@$(BIN)/python scripts/compiled.py

test-compiled: $(READY) compiled ## Run the unit, property and fault tests with the compiled form
	@$(BIN)/python scripts/debian.py --for-tests
	@FORM=compiled PYTHONPATH=$(CURDIR)/.run/compiled $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(COMPILED)

test-packages: $(READY) build ## Install the wheels and the sdist with each Python at hand, and publish (SUITES="trixie testing")
	@$(BIN)/python scripts/debian.py rabbitmq-server curl gcc libc6-dev python3-dev
	@$(RELEASE)/bin/pip --disable-pip-version-check install --quiet --constraint constraints.txt --requirement tests/packages/requirements.txt
	@SUITES="$(SUITES)" $(BIN)/pytest tests/packages/packages.py

hashes: ## Write requirements.txt and those of the extras, with hashes, from constraints.txt
	@$(PYTHON) -m venv .run/hashes
	@.run/hashes/bin/pip --disable-pip-version-check install --quiet 'uv >=0.13,<0.14'
	@.run/hashes/bin/python scripts/pins.py

constraints: $(READY) ## Pin what is installed now in constraints.txt; "make hashes" comes next
	@{ sed '/^[^#]/d' constraints.txt; $(BIN)/pip freeze --all --exclude pip --exclude-editable; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## Remove everything that was built, installed or started here
	@for each in .run/broker .run/broker-*; do \
		test ! -d $$each || $(PYTHON) scripts/broker.py stop --run-dir $$each; done
	@rm -rf $(VENV) .run dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(RUNTIME): pyproject.toml constraints.txt
	$(python-is-there)
	@$(PYTHON) scripts/environment.py runtime

$(READY): pyproject.toml constraints.txt requirements-dev.txt
	$(python-is-there)
	@$(PYTHON) scripts/environment.py development

define python-is-there
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	echo "Python 3.11 or later is needed: apt-get install python3 python3-venv," >&2; \
	echo "or name another: make PYTHON=/path/to/python3" >&2; exit 1; }
endef

$(FRAMEWORKS)/.ready: tests/recipes/requirements.txt
	@echo "Installing into $(FRAMEWORKS) …"
	@test -x $(FRAMEWORKS)/bin/python || $(PYTHON) -m venv $(FRAMEWORKS)
	@$(FRAMEWORKS)/bin/pip --disable-pip-version-check install --quiet --requirement tests/recipes/requirements.txt
	@touch $@

$(CONTAINERS)/.ready: tests/containers/requirements.txt
	@echo "Installing into $(CONTAINERS) …"
	@test -x $(CONTAINERS)/bin/python || $(PYTHON) -m venv $(CONTAINERS)
	@$(CONTAINERS)/bin/pip --disable-pip-version-check install --quiet --constraint constraints.txt --requirement $<
	@touch $@

$(SITE)/.ready: docs/requirements.txt
	@echo "Installing into $(SITE) …"
	@test -x $(SITE)/bin/python || $(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/pip --disable-pip-version-check install --quiet --requirement docs/requirements.txt
	@touch $@

$(RELEASE)/.ready: requirements.txt requirements-compression.txt requirements-otel.txt requirements-release.txt
	@echo "Installing into $(RELEASE) …"
	@test -x $(RELEASE)/bin/python || $(PYTHON) -m venv $(RELEASE)
	@$(RELEASE)/bin/pip --disable-pip-version-check install --quiet --require-hashes --requirement requirements-compression.txt --requirement requirements-otel.txt
	@$(RELEASE)/bin/pip --disable-pip-version-check install --quiet --constraint constraints.txt --requirement requirements-release.txt
	@touch $@
