PYTHON ?= python3
BIN := .venv/bin

.PHONY: book test serve pdf lint mutate twins bench gpu clean

book: .venv/ready
	@$(BIN)/ssl-theory build

# bytecode is kept, whatever the environment says: without it each process takes twice as long to start
book test: export PYTHONDONTWRITEBYTECODE =
test: .venv/ready
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not alone"
	@$(BIN)/python -m pytest -q -m alone $$(grep -rl --include='test_*.py' 'mark\.alone' tests)

serve: book
	@$(BIN)/ssl-theory serve

# the whole book in build/ssl_theory.pdf; needs Chromium
pdf: book
	@$(BIN)/ssl-theory pdf

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

mutate: .venv/ready
	@$(BIN)/python -m tests.mutate

# every statement of every chapter replaced by its wrong version
twins: .venv/ready
	@SSL_THEORY_EVERY_TWIN=1 $(BIN)/python -m pytest -q tests/test_twins.py

bench: .venv/ready
	@$(BIN)/python -m benchmarks

gpu: .venv/ready
	@$(BIN)/python -m benchmarks gpu

clean:
	rm -rf build dist .venv

.venv/ready: pyproject.toml constraints.txt
	@echo "installing into .venv, which takes minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[book,test]'
	@touch $@
