# Small words; the long shell is in tools/. `make setup` is part of each and quick when there is nothing to do.
PYTHON := .venv/bin/python

.PHONY: setup demo lab test test-long lint fmt docs dist bench bench-compare truth harm fuzz clean

setup:
	@tools/setup.sh

demo: setup
	@$(PYTHON) -m lab.demo

lab: setup
	@$(PYTHON) -m lab.labdemo

test: lint
	@tools/test.sh

# What takes minutes for a single test, on lab hosts.
test-long: setup
	$(PYTHON) -m pytest -m long

lint: setup
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

fmt: setup
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

docs: setup
	$(PYTHON) tools/docs.py
	$(PYTHON) tools/man.py

dist: setup
	@rm -rf dist
	$(PYTHON) -m build --outdir dist

bench: setup
	$(PYTHON) -m lab.bench

bench-compare: setup
	@$(PYTHON) -m lab.bench_compare

truth: setup
	@$(PYTHON) -m lab.truth

harm: setup
	@$(PYTHON) -m lab.harm

# All readers of untrusted bytes, so many seconds each; what was reached is kept in .cache/fuzz.
FUZZ_SECONDS := 60
fuzz: setup
	@$(PYTHON) -c 'import atheris' 2>/dev/null || $(PYTHON) -m pip install --quiet --editable '.[fuzz]'
	@$(PYTHON) -m lab.fuzz $(FUZZ_SECONDS)

clean:
	rm -rf .cache build dist demo/demo.vio demo/lab.vio demo/timeline.png .pytest_cache .mypy_cache .ruff_cache .hypothesis
