# Two commands on a fresh machine: `make run` and `make test`. Both make .venv and install what is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

RUN_ID ?=
EXPERIMENT ?= nba_strength
SOURCE ?=
SMOKE ?=
SET ?=

.PHONY: help run test lab docs notebooks readme clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo "parameters of run: RUN_ID=024 EXPERIMENT=nba_strength SOURCE=real|simulated SMOKE=1 SET='parameters.elo.k=25 seed=3'"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# one stamp an extra: what is installed already is not installed again until the requirements change
$(VENV)/run.ok: settings.ini setup.py constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev.ok: $(VENV)/run.ok
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,rfx]"
	@touch $@

$(VENV)/docs.ok: $(VENV)/dev.ok
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,rfx,docs]"
	@touch $@

run: $(VENV)/run.ok  ## run an experiment into outputs3/ (the simulated league by default)
	$(BIN)/sportsml run $(RUN_ID) --experiment $(EXPERIMENT) $(if $(SOURCE),--source $(SOURCE)) $(if $(SMOKE),--smoke) $(if $(SET),--set '$(SET)')

test: $(VENV)/dev.ok  ## check everything: notebooks, structure, tests, templates, wheel
	$(BIN)/ruff check sportsml tests benchmarks docs
	$(BIN)/pytest

lab: $(VENV)/dev.ok  ## open JupyterLab; its kernel has the package
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root)

docs: $(VENV)/docs.ok  ## build the site into docs/_build/html
	$(BIN)/python docs/build.py

notebooks: $(VENV)/dev.ok  ## export the package and run every library notebook in place, so that stored outputs are current
	$(BIN)/nbdev_export
	find nbs -name '*.ipynb' -not -path '*/.*' | sort | xargs grep -L 'skip_exec: true' | xargs $(BIN)/jupyter nbconvert --to notebook --execute --inplace
	$(BIN)/nbdev_clean

readme: $(VENV)/dev.ok  ## render README.md from nbs/index.ipynb
	SPORTSML_PROGRESS=0 $(BIN)/jupyter-nbconvert --to markdown --execute nbs/index.ipynb --output-dir . --output README \
		--TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_input_tags=remove-input

clean:  ## remove the environment and everything generated that is not committed
	rm -rf $(VENV) build dist *.egg-info docs/_build _proc data/sim data/warehouse outputs3/scratch
