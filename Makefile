# make reproduce: every number and picture from scratch. make test: all checks. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# figures, tokenizers and DVC need no display, no telemetry and no network of their own
export MPLBACKEND := Agg
export HF_HUB_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help reproduce published planting planting-kinds dimensions test test-fast lint setup clean
help: ## these lines
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/'

reproduce: setup ## make every file that is out of date (dvc repro), and say whether it is what is committed
	$(BIN)/dvc repro
	$(BIN)/valuetrace verify

published: setup ## the paper from its own released data (fetches it; what was lacking is looked for again)
	$(BIN)/dvc repro --force --single-item stages/published/dvc.yaml:fetch
	$(BIN)/dvc repro stages/published/dvc.yaml

# Parts of a study side by side, a line of stages each, in one thread (two threads in one process are slower than two processes).
SIDE_BY_SIDE := OMP_NUM_THREADS=1 THP_MEM_ALLOC_ENABLE=1 xargs -P 2 -L 1 $(BIN)/dvc --wait-for-lock repro --single-item --glob
PLANTING := stages/planting/dvc.yaml
targets = $(foreach stage,$(1),$(PLANTING):$(stage))
cells = $(call targets,block@$(1) plant@$(1)-* plant_nulls@$(1)-* heads@$(1)-* heads_nulls@$(1)-* reward_model@$(1)-*)
kinds = $(call targets,plant_kinds@*-$(1)* heads_kinds@*-$(1)*)

planting: setup ## plant known values into copies of a base and look for them in its reward models (50 minutes on two cores, set-up included)
	$(BIN)/dvc pull --allow-missing # the ablation's runs, which it reads, and what planting-kinds makes
	$(BIN)/dvc repro parameters lexicons models
	printf '%s\n' '$(call cells,*[13579])' '$(call cells,*[02468])' '$(call targets,authority) stages/ablations/dvc.yaml:seed_variance' | $(SIDE_BY_SIDE)
	$(BIN)/dvc repro --allow-missing $(PLANTING)

planting-kinds: setup ## plant values in other ways: as answers, as statements, in embedding rows (19 minutes on two cores)
	$(BIN)/dvc repro parameters lexicons models
	$(BIN)/dvc repro --single-item --glob '$(call targets,block@*)'
	printf '%s\n' '$(call kinds,agency)' '$(call kinds,communion)' | $(SIDE_BY_SIDE)

dimensions: setup ## more dictionaries side by side: what they share, what is valence, what differs (8 minutes of one core)
	$(BIN)/dvc pull checkpoints # the published adapters, whose rewards it reads
	$(BIN)/dvc repro stages/dimensions/dvc.yaml

test: setup lint ## all tests, slow ones too
	-$(BIN)/dvc repro --quiet --single-item fetch # the dictionaries that some tests read; without a registry they are skipped
	$(BIN)/python -m pytest

test-fast: setup ## tests that need no model from the registry
	$(BIN)/python -m pytest -m "not slow"

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy valuetrace stages benchmarks

setup: $(VENV)/.ready

# PIP_* variables and pip's configuration hold, so a CPU build of torch is one PIP_INDEX_URL away
$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@echo "Setting up $(VENV): a few minutes, most of them for torch."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean: ## remove the environment (fetched and computed files stay)
	rm -rf $(VENV)
