# annobench: two commands on a fresh machine
#   make run     makes its own environment, runs the default study, prints the ranking
#   make test    makes its own environment, checks style and types, runs all tests
# Everything else is optional.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SITE := .venv-docs
SITE_STAMP := $(SITE)/.docs-$(shell cat requirements-docs.txt | cksum | cut -d' ' -f1)
PLACE := $(shell $(PYTHON) scripts/annobench/core/place.py)
$(if $(PLACE),$(error $(PLACE)))
export PYTHONPATH := $(CURDIR)/scripts$(if $(PYTHONPATH),:$(PYTHONPATH))

STUDY ?=
PROFILE ?= local
NAME ?=
BASE ?=
FILE ?=
STORE ?=
MODEL ?=
CELLS ?=
OUT ?=
LABEL ?=
PREDICTIONS ?=
KIND ?=
COLUMN ?=
LABELS ?=
CROSSWALK ?=
GROUPS ?=
COMPAT ?=
ZERO_DIVISION ?=
ARGS ?=

.PHONY: run partial retry plan report score annotate verify test lint format test-slow test-slurm new-method new-dataset check-method site manual manual-check pictures lock env env-dev clean help

score_option = $(if $($(1)),--$(subst _,-,$(shell echo $(1) | tr A-Z a-z)) "$($(1))")

run: env          ## run a study (STUDY=name; PROFILE=local, ci, slurm or a folder; ARGS for Snakemake)
	@$(PY) -m annobench run --study "$(STUDY)" --profile "$(PROFILE)" -- $(ARGS)

partial: env      ## build tables and report from the fits that exist
	@$(PY) -m annobench run --study "$(STUDY)" --profile "$(PROFILE)" -- --config partial=true $(ARGS)

retry: env        ## run the failed fits of a study again, after a limit or an installation was changed
	@$(PY) -m annobench retry --study "$(STUDY)" --profile "$(PROFILE)" -- $(ARGS)

plan: env         ## print jobs, hours, memory and disk of a study without running it
	@$(PY) -m annobench plan --study "$(STUDY)"

report: env       ## Snakemake's own report of a study that has run, with captions and categories
	@$(PY) -m annobench run --study "$(STUDY)" -- --report results/report/$(or $(STUDY),quickstart).zip
	@echo "Written: results/report/$(or $(STUDY),quickstart).zip"

score: env        ## score predictions made elsewhere (LABEL=column PREDICTIONS=paths OUT=folder CELLS=truth.h5ad; docs/score.md)
	@$(PY) -m annobench score --label "$(LABEL)" --out "$(OUT)" --profile "$(PROFILE)" \
	  $(foreach option,CELLS KIND COLUMN LABELS CROSSWALK GROUPS COMPAT ZERO_DIVISION,$(call score_option,$(option))) $(ARGS) -- "$(PREDICTIONS)"

annotate: env     ## annotate new cells with the model of a fit (MODEL=results/fits/.../seed1 CELLS=file.h5ad OUT=file)
	@$(PY) -m annobench annotate "$(MODEL)" "$(CELLS)" "$(OUT)" $(ARGS)

verify: env       ## compare every file of a store with its checksum (STORE=results/data/NAME/store)
	@$(PY) -m annobench verify "$(STORE)"

test: env-dev lint ## style, types, and all tests but the slow ones and those on SLURM
	@$(PY) -m pytest -n auto tests

lint: env-dev     ## style and types only
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/snakefmt --check Snakefile workflow
	@$(PY) -m snakemake --lint
	@$(PY) -m annobench manual --check

format: env-dev   ## put the style right
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@$(VENV)/bin/snakefmt Snakefile workflow
	@$(PY) -m annobench manual

test-slow: env-dev ## tests that repeat, kill or measure whole runs
	@$(PY) -m pytest -n auto tests -m slow

test-slurm: env-dev ## the smoke study on a real SLURM on this machine (Debian, root)
	@$(PY) -m pytest tests/slurm -m slurm

new-method: env   ## write the files of a new method (NAME=...), or of a variant of another (BASE=...)
	@$(PY) -m annobench new-method "$(NAME)" $(if $(BASE),--base "$(BASE)")

new-dataset: env  ## write the file of a new dataset (NAME=...) from what a file shows (FILE=my.h5ad, COLUMN=labels), or a variant (BASE=...)
	@$(PY) -m annobench new-dataset "$(NAME)" $(if $(BASE),--base "$(BASE)") $(if $(FILE),--file "$(FILE)") $(if $(COLUMN),--label "$(COLUMN)")

check-method: env-dev ## run the contract tests of one method (NAME=...; ARGS for pytest)
	@$(PY) -m annobench check-method "$(NAME)" -- $(ARGS)

site: $(SITE_STAMP) ## the documentation as a site of static pages, in site/ (its tools in .venv-docs)
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict --quiet --site-dir site
	@echo "Written: site/index.html"

manual: env       ## write the pages of docs/config anew from the schemas
	@$(PY) -m annobench manual

manual-check: env ## whether those pages are up to date
	@$(PY) -m annobench manual --check

pictures: env     ## draw the pictures of docs/ anew from the tables of a study that has run (STUDY=name; else of all that have)
	@$(PY) -m annobench pictures $(if $(STUDY),--study "$(STUDY)")

# The environment is complete when a stamp with the hash of its lock files exists: an interrupted installation is
# taken up again, and a changed lock file is installed.
RUN_STAMP := $(VENV)/.run-$(shell cat requirements.txt | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/.dev-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d' ' -f1)

# The command `annobench` runs the files of this checkout as they are; several checkouts may share an environment.
COMMAND_STAMP := $(VENV)/.command-$(shell echo "$(CURDIR)" | cksum | cut -d' ' -f1)

env: $(COMMAND_STAMP)
env-dev: $(DEV_STAMP) $(COMMAND_STAMP)

$(RUN_STAMP):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}; use make PYTHON=python3.12")'
	@echo "Setting up the environment in $(VENV) (once, some minutes) ..."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(COMMAND_STAMP): $(RUN_STAMP)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo "Adding the tools for tests ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(SITE_STAMP):
	@echo "Setting up the tools for the site in $(SITE) (once) ..."
	@test -x $(SITE)/bin/python || $(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

# Compiled for Python 3.11 to 3.13 at once; CUDA libraries stay out, pip adds those that the torch of a machine asks for.
lock:             ## resolve requirements*.in anew
	@test -x $(VENV)-lock/bin/uv || ($(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv)
	@for name in requirements requirements-dev requirements-docs requirements-scvi requirements-adaptation; do \
	  $(VENV)-lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links $(ARGS) $$name.in | grep -vE '^(nvidia-|cuda-|triton)' > $$name.txt.new \
	  && mv $$name.txt.new $$name.txt; done

clean:            ## remove results and logs, keep the environment and downloads
	@rm -rf .snakemake && find -H results -mindepth 1 ! -name README.md -delete

help:             ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ — /'
