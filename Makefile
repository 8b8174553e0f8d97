# Everything a developer types. Each target sets up what it needs, in .venv.

PYTHON ?= python3
# Airflow 2.11 runs on Python up to 3.12.
PYTHON_2_11 ?= $(shell $(PYTHON) -c 'import sys; print("$(PYTHON)" if sys.version_info < (3, 13) else ">=3.10,<3.13")')

export PYTHON
# Airflow takes seconds longer to start without its .pyc files.
unexport PYTHONDONTWRITEBYTECODE
# An Airflow that the developer has set up elsewhere must not be touched.
unexport AIRFLOW_HOME AIRFLOW_CONFIG PYTHONPATH

UV := .venv/uv/bin/uv
AIRFLOW_3 := .venv/airflow-3.3
AIRFLOW_2 := .venv/airflow-2.11
AZURITE := .venv/azurite
BENCH := .venv/bench
FLEET := .venv/fleet
SERVICES := .venv/services
# The supported releases of Airflow whose constraints are in the project.
RELEASES := $(patsubst constraints/releases/airflow-%.txt,%,$(wildcard constraints/releases/airflow-*.txt))
EXTRAS := s3,azure,gcs,parquet,zstd
# Two files at a time, in their order: the long ones come first. ARGS="-n 0" runs all in one process.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Each part of the package once: what Airflow imports, the hooks, an export, a sensor, the triggers.
SMOKE := tests/e2e/test_package.py tests/hooks/test_contract.py tests/components/test_export_operator.py \
    tests/sensors/test_error_log_sensor.py tests/triggers/test_stored_triggers.py
SOURCES := airflow_provider_supermetrics dev example_dags benchmarks tests

.PHONY: help
help:  ## show this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(AIRFLOW_3)/installed  ## run the example DAGs in Airflow 3.3 against a simulated API
	$(AIRFLOW_3)/bin/python -m dev.demo

.PHONY: demo-ui
demo-ui: $(AIRFLOW_3)/installed  ## leave Airflow running, with the examples and the Connection in place
	$(AIRFLOW_3)/bin/python -m dev.demo --ui

.PHONY: test
test: lint types test-3.3 smoke-2.11  ## before every commit: style, types, the quick tests on Airflow 3.3, a few on 2.11

.PHONY: test-all
test-all: lint types test-3.3 test-full test-2.11 coverage  ## all that CI runs: `make test`, and the rest of the tests on Airflow 3.3 and 2.11

.PHONY: test-3.3
test-3.3: $(AIRFLOW_3)/installed  ## the quick tests, on Airflow 3.3; select some with ARGS="-k ..."
	$(AIRFLOW_3)/bin/python $(PYTEST) $(ARGS)

.PHONY: smoke-2.11
smoke-2.11: $(AIRFLOW_2)/installed  ## some quick tests on Airflow 2.11 with the lowest versions allowed
	$(AIRFLOW_2)/bin/python $(PYTEST) -m 'airflow_2 and not full' $(SMOKE) $(ARGS)

# The properties once more, with more examples.
.PHONY: test-full
test-full: export MAX_EXAMPLES := 1500
test-full: $(AIRFLOW_3)/installed $(AZURITE)/installed .venv/chromium  ## the other tests, on Airflow 3.3: real services, all emulators of stores, more examples
	$(AIRFLOW_3)/bin/python $(PYTEST) -m 'full or hypothesis' $(ARGS)

.PHONY: test-2.11
test-2.11: export MAX_EXAMPLES := 1500
test-2.11: $(AIRFLOW_2)/installed $(AZURITE)/installed  ## all tests that must hold on Airflow 2.11 with the lowest versions allowed
	$(AIRFLOW_2)/bin/python $(PYTEST) -m airflow_2 $(ARGS)

.PHONY: coverage
coverage: $(AIRFLOW_3)/installed  ## fail if the core's own tests leave a line or a branch of it out
	$(AIRFLOW_3)/bin/coverage erase
	$(AIRFLOW_3)/bin/coverage run -m pytest -m 'not hypothesis' tests/api tests/wait
	$(AIRFLOW_3)/bin/coverage report

.PHONY: test-install
test-install: $(AIRFLOW_3)/installed $(RELEASES:%=.venv/release-%/installed)  ## resolve the package and each extra with the constraints of Airflow's releases; asks the package index
	$(AIRFLOW_3)/bin/python -m pytest -m install tests/install/test_constraints.py tests/install/test_pip.py $(ARGS)

.PHONY: test-matrix
test-matrix: $(UV) .venv/chromium  ## run the quick tests, the examples and real services in each of Airflow's releases; ARGS="--releases 3.0.6"
	$(PYTHON) -m dev.matrix $(ARGS)

.PHONY: test-fleet
test-fleet: $(FLEET)/installed $(SERVICES)/installed  ## exports in a fleet of Airflow: two Celery workers, PostgreSQL, Redis; what is lost and killed on the way
	$(FLEET)/bin/python -m pytest -m fleet tests/fleet $(ARGS)

.PHONY: test-core
test-core: $(AIRFLOW_3)/installed  ## the inner loop: the core without Airflow
	$(AIRFLOW_3)/bin/python -m pytest tests/api $(ARGS)

.PHONY: histories
histories: $(AIRFLOW_3)/installed  ## read 200,000 random histories from a server that cuts its pages anywhere
	$(AIRFLOW_3)/bin/python -m tests.support.histories 200000 $(ARGS)

.PHONY: soak
soak: $(AIRFLOW_3)/installed  ## exports and alerts, with random faults and kills, against the truth; ARGS="--minutes 30 --seed 7"
	$(AIRFLOW_3)/bin/python -m tests.soak $(ARGS)

.PHONY: mutants
mutants: $(AIRFLOW_3)/installed  ## do the tests bite? change the source in 100 places; ARGS="--count 20 --seed 7 --only pager.py"
	$(AIRFLOW_3)/bin/python -m dev.mutants $(ARGS)

.PHONY: lint
lint: $(AIRFLOW_3)/installed  ## check style, and that every imported distribution is declared
	$(AIRFLOW_3)/bin/ruff check $(SOURCES)
	$(AIRFLOW_3)/bin/ruff format --check $(SOURCES)
	$(AIRFLOW_3)/bin/deptry airflow_provider_supermetrics
	$(AIRFLOW_3)/bin/deptry $(filter-out airflow_provider_supermetrics,$(SOURCES)) --ignore DEP002,DEP004

.PHONY: types
types: $(AIRFLOW_3)/installed  ## check types
	$(AIRFLOW_3)/bin/mypy

.PHONY: format
format: $(AIRFLOW_3)/installed  ## put the sources into shape
	$(AIRFLOW_3)/bin/ruff check --fix $(SOURCES)
	$(AIRFLOW_3)/bin/ruff format $(SOURCES)

.PHONY: bench
bench: export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
bench: $(BENCH)/installed  ## compare the export with other ways, and write docs/benchmarks.md; see there for ARGS
	$(BENCH)/bin/python -m benchmarks.export --write $(ARGS)

.PHONY: bench-triggers
bench-triggers: $(AIRFLOW_3)/installed  ## 200 deferred sensors in one event loop: how long, how much memory
	$(AIRFLOW_3)/bin/python -m benchmarks.triggers

.PHONY: bench-parse
bench-parse: $(AIRFLOW_3)/installed  ## a DAG file with our operators, beside one with HttpOperator: CPU of reading it
	$(AIRFLOW_3)/bin/python -m benchmarks.parse

.PHONY: bench-health
bench-health: $(AIRFLOW_3)/installed  ## the health page of 100 connectors and 72,000 manifests: CPU and memory of a view
	$(AIRFLOW_3)/bin/python -m benchmarks.health

.PHONY: bench-formats
bench-formats: $(AIRFLOW_3)/installed  ## the same 100,000 entries in every format: size, CPU, memory
	$(AIRFLOW_3)/bin/python -m benchmarks.formats

.PHONY: reference
reference: $(AIRFLOW_3)/installed  ## write docs/reference.md from the docstrings
	$(AIRFLOW_3)/bin/python -m dev.reference

.PHONY: build
build: $(UV)  ## build the wheel and the sdist into dist/
	$(UV) build --quiet --out-dir dist

.PHONY: constraints
constraints: $(UV)  ## renew the pinned versions: the newest for Airflow 3.3, the lowest allowed for 2.11
	# --no-config: without what pyproject.toml leaves out for the tests, so that people can install with these.
	echo 'apache-airflow==3.3.2' | $(UV) pip compile --quiet --no-config --universal --python-version 3.10 \
	    --no-header --no-annotate pyproject.toml - --all-extras --group test --group readers --group lint --group build \
	    --upgrade --output-file constraints/airflow-3.3.txt
	# Airflow 2.11.0 works only with this universal-pathlib; 2.11.1 says so itself. The oldest requests warns of
	# a newer chardet, and pip finds it too old for a newer azure-kusto-data, which uv does not see. Other
	# providers, which are not the lowest, ask for a newer common-compat.
	printf '%s\n' 'apache-airflow==2.11.0' 'universal-pathlib==0.2.6' 'chardet==5.2.0' 'azure-kusto-data==5.0.4' \
	    'apache-airflow-providers-common-compat==1.7.0' \
	    | $(UV) pip compile --quiet --no-config --universal --python-version 3.10 --no-header --no-annotate pyproject.toml - --all-extras --group test \
	    --resolution lowest-direct --upgrade --output-file constraints/airflow-2.11.txt
	# What the benchmark installs in addition to airflow-3.3.txt.
	echo 'apache-airflow==3.3.2' | $(UV) pip compile --quiet --no-config --universal --python-version 3.10 \
	    --no-header --no-annotate pyproject.toml - --group bench --constraint constraints/airflow-3.3.txt --upgrade \
	    | grep -vxFf constraints/airflow-3.3.txt > constraints/bench.txt
	# What the fleet installs in addition to airflow-3.3.txt.
	echo 'apache-airflow==3.3.2' | $(UV) pip compile --quiet --no-config --universal --python-version 3.11 \
	    --no-header --no-annotate pyproject.toml - --group fleet --constraint constraints/airflow-3.3.txt --upgrade \
	    | awk 'NR == FNR {known[$$1]; next} !($$1 in known)' constraints/airflow-3.3.txt - > constraints/fleet.txt

.PHONY: clean
clean:  ## remove the environments and all that was built
	rm -rf .venv .demo .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(UV): constraints/uv.txt dev/bootstrap.sh
	dev/bootstrap.sh .venv/uv
	@touch $@

$(AIRFLOW_3)/installed: $(UV) pyproject.toml constraints/airflow-3.3.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(AIRFLOW_3)
	$(UV) pip install --quiet --compile-bytecode --python $(AIRFLOW_3)/bin/python \
	    --constraint constraints/airflow-3.3.txt --editable '.[$(EXTRAS)]' \
	    --group test --group readers --group lint --group build 'apache-airflow>=3.3,<3.4'
	@touch $@

$(AIRFLOW_2)/installed: $(UV) pyproject.toml constraints/airflow-2.11.txt
	$(UV) venv --quiet --clear --python '$(PYTHON_2_11)' $(AIRFLOW_2)
	$(UV) pip install --quiet --compile-bytecode --python $(AIRFLOW_2)/bin/python \
	    --constraint constraints/airflow-2.11.txt --editable '.[$(EXTRAS)]' \
	    --group test 'apache-airflow>=2.11,<2.12'
	@touch $@

$(BENCH)/installed: $(UV) pyproject.toml constraints/airflow-3.3.txt constraints/bench.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(BENCH)
	$(UV) pip install --quiet --compile-bytecode --python $(BENCH)/bin/python \
	    --constraint constraints/airflow-3.3.txt --constraint constraints/bench.txt \
	    --editable '.[parquet]' --group bench 'apache-airflow>=3.3,<3.4'
	@touch $@

$(FLEET)/installed: $(UV) pyproject.toml constraints/airflow-3.3.txt constraints/fleet.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(FLEET)
	$(UV) pip install --quiet --compile-bytecode --python $(FLEET)/bin/python \
	    --constraint constraints/airflow-3.3.txt --constraint constraints/fleet.txt \
	    --editable . --group fleet 'apache-airflow>=3.3,<3.4'
	@touch $@

$(SERVICES)/installed: dev/fleet.sh
	dev/fleet.sh $(SERVICES)
	@touch $@

.venv/release-%/installed: $(UV) pyproject.toml constraints/releases/airflow-%.txt dev/matrix.py
	$(UV) venv --quiet --clear --python "$$($(PYTHON) -m dev.matrix --python-of $*)" $(@D)
	# The tests need a newer pytest than Airflow's own do, but not one that warns of what else is pinned; and a
	# duckdb that has its extension for time zones, which older ones download.
	grep -vE '^(duckdb|pytest)==' constraints/releases/airflow-$*.txt > $(@D)/constraints.txt
	# The requests of Airflow 2.11.0 warns of a newer chardet, which only tests bring.
	grep -q '^chardet==' $(@D)/constraints.txt || echo 'chardet==5.2.0' >> $(@D)/constraints.txt
	$(UV) pip install --quiet --compile-bytecode --python $(@D)/bin/python --constraint $(@D)/constraints.txt \
	    --editable '.[$(EXTRAS)]' --group test --group readers --group build 'apache-airflow==$*' pytest==9.0.0
	@touch $@

# For the tests of the UI.
.venv/chromium: $(UV) dev/chromium.sh
	dev/chromium.sh $@

# Microsoft's emulator of Azure's blobs, and its Node.js from PyPI. --before: what it depends on, as of then.
$(AZURITE)/installed: $(UV) constraints/azurite.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(AZURITE)
	$(UV) pip install --quiet --python $(AZURITE)/bin/python --requirement constraints/azurite.txt
	$(AZURITE)/bin/npm install --prefix $(AZURITE) --no-save --no-package-lock --ignore-scripts \
	    --omit=optional --no-audit --no-fund --no-update-notifier --loglevel=error \
	    --before=2026-11-01 azurite@3.37.0
	@touch $@
