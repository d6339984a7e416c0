# `make demo` and `make test` set themselves up; nothing but Python 3.11+, a C compiler and pip is needed.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
DATA ?= $(COUNTAE_DATA)

.PHONY: demo test test-all test-browser test-cluster test-engines test-gpu fmt lint new-likelihood docs dag lock help clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/.installed: envs/requirements.lock pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "Installing the locked environment into .venv (some minutes, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: $(BIN)/.installed  ## run the workflow on the built-in data and print the verdict
	@if snakemake --dry-run 2>/dev/null | grep -q "Nothing to be done"; then \
	  echo "Nothing to be done: all results are up to date."; \
	elif [ -t 1 ]; then snakemake --logger rich; else snakemake; fi
	@countae explain --short results/*/verdict.json
	@echo "Report: $(CURDIR)/results/report.html"

test: $(BIN)/.installed  ## run the test suite (a few minutes)
	@COUNTAE_DATA=$(DATA) $(BIN)/python -m pytest -n 2 -m "not slow and not gpu and not browser and not cluster"

test-all: $(BIN)/.installed  ## the same with the long tests
	@COUNTAE_DATA=$(DATA) $(BIN)/python -m pytest -n 2 -m "not gpu and not browser and not cluster"

# as root on Debian or Ubuntu, where Chromium is not there yet
test-browser: $(BIN)/.installed  ## open the report in Chromium, without a network
	@command -v chromium >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; }
	@$(BIN)/python -m pytest tests/browser -m browser

test-gpu: $(BIN)/.installed  ## on a machine with a CUDA device: tests, throughput, agreement, memory
	@$(BIN)/python tests/gpu/report.py; code=$$?; [ $$code -lt 2 ] || exit $$code; \
	$(BIN)/python -m pytest -m gpu tests/gpu tests/unit/test_fit.py && exit $$code

SLURM := slurmctld slurmd slurm-client munge
# as root on Debian or Ubuntu; installs and starts a SLURM of two nodes on this machine, and stops it
test-cluster: $(BIN)/.installed  ## run the workflow through a real SLURM, made here (ten minutes)
	@{ command -v slurmctld && command -v slurmd && command -v munged; } >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(SLURM); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/cluster.lock
	@COUNTAE_CLUSTER=1 $(BIN)/python -m pytest -s -m cluster tests/cluster

test-engines: $(BIN)/.installed  ## plan and lint the workflow with the profiles of all engines
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/cluster.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r envs/engines.lock
	@COUNTAE_ENGINES=1 $(BIN)/python -m pytest tests/workflow/test_engines.py

lint: $(BIN)/.installed  ## check form: ruff, snakefmt, snakemake --lint, mypy, spelling
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy
	codespell

fmt: $(BIN)/.installed  ## bring code and rules into form
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

new-likelihood: $(BIN)/.installed  ## start a loss and its test: make new-likelihood NAME=my_loss
	@countae new-likelihood "$(NAME)" src/countae/likelihoods
	@sed '1s/.*/"""The loss $(NAME) against an independent implementation."""/; /import _template/d; /setdefault/d; s/_template/$(NAME)/g' \
	  tests/unit/likelihoods/test_template.py > tests/unit/likelihoods/test_$(NAME).py
	@echo "tests/unit/likelihoods/test_$(NAME).py written; give it an oracle of its own"

docs: $(BIN)/.installed  ## make config/README.md from the schemas, and the site in docs/_site
	$(BIN)/python docs/config_table.py > config/README.md
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_site
	@echo "Site: $(CURDIR)/docs/_site/index.html"

dag: $(BIN)/.installed  ## print the graph of rules (mermaid)
	@snakemake --rulegraph mermaid-js

lock: $(BIN)/.installed  ## write the exact versions of this .venv into the lock
	@{ echo "# Exact versions of everything, for Python 3.11 (Linux); made by \`make lock\`."; \
	   $(BIN)/python -m pip freeze --exclude-editable | grep -viE '^(pip|setuptools|wheel)==' | sed 's/+cpu//'; \
	 } > envs/requirements.lock

clean:  ## remove what the demo made
	rm -rf results logs .snakemake
