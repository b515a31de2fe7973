# Two commands do everything on a fresh machine:
#   make train   environment, install, train on the embedded stories, print new ones
#   make test    environment, install, all tests
# make docs writes the documentation as a site, build/docs/index.html.
# The environment is .venv in this folder. PYTHON=python3.13 chooses another Python.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml setup.py $(wildcard csrc/* csrc/*/* tinyllm/ops/*.txt)

.PHONY: train test verify docs lint size clean

train: .venv/installed
	$(BIN)/tinyllm train $(ARGS)

# They start hundreds of Pythons, each of which would compile all modules again without bytecode files.
test verify: export PYTHONDONTWRITEBYTECODE :=

# Alone, the tests that send signals or measure processor time; then all others, as many at a time as there are
# processors, in the order of tests/conftest.py. make test ARGS=tests/unit/test_tensor.py runs one file.
test: .venv/installed
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest -m signals $$(grep -rlw --include='test_*.py' signals tests)
	$(BIN)/python -m pytest -m "not signals" --numprocesses auto --maxprocesses 8 --dist loadfile \
		--no-loadscope-reorder
endif

# Long proofs, with figures: minutes, not seconds. Then all properties of the tests with more examples.
verify: .venv/installed
	$(BIN)/python tests/proofs/verify.py
	TINYLLM_EXAMPLES=500 $(BIN)/python -m pytest -m hypothesis --numprocesses auto --maxprocesses 8

# The repository's own folders: an exercise started here is its student's.
lint: .venv/linted-with
	$(BIN)/ruff check .ci benchmarks examples lessons setup.py tests tinyllm tools
	$(BIN)/mypy tinyllm

# The site; the lessons run, so it takes about four minutes.
docs: .venv/docs-with
	$(BIN)/python tools/docs/build.py build/docs

# Lines of every group beside its limit in tools/size.toml; fails above one.
size:
	$(PYTHON) tools/size.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

# With what the tests need, so that the kernels are built once for both commands. The first time, the library writes
# a story without kernels before it compiles them, so that newcomers see something soon.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
.venv/installed: .venv/bin/python $(SOURCES)
	@test -e $@ || { echo "Installing NumPy and a few others." && \
		TINYLLM_NO_EXT=1 $(PIP_INSTALL) --editable '.[test]' && \
		echo "The model that comes with tinyllm writes a story, in plain NumPy:" && echo && \
		PYTHONWARNINGS=ignore $(BIN)/tinyllm generate shipped --prompt "Once upon a time" --tokens 400 --stop "\n"; }
	@echo && echo "Compiling the kernels: csrc/, once for each level of instructions. One to two minutes."
	@(while sleep 5 && kill -0 $$$$ 2> /dev/null; do printf .; done) & $(PIP_INSTALL) --editable '.[test]' && echo
	@touch $@

# Not --editable '.[docs]', which would build the kernels once more.
.venv/docs-with: .venv/installed
	$(PIP_INSTALL) $$($(BIN)/python -c \
		"import tomllib as t; print(*t.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'])")
	@touch $@

.venv/linted-with: .venv/installed
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info csrc/glue/_compiled.c tinyllm/ops/_compiled*.so csrc/unicode_tables.h
