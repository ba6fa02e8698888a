# make demo   train on the swiss roll and on handwritten digits, draw what happens   (two to four minutes)
# make test   everything the library promises                                        (about fourteen minutes on 2 cores)
# make fuzz   thousands of absurd command lines and damaged files (COUNT=20000)
# make check  style and types
# make mutants  whether the tests notice small changes to what differs from main (FILES=..., CORE=1: elsewhere)
# make docs   the documentation as a site, in build/site
# make bench  the measurements that the README quotes

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Real data for some tests: a folder beside the checkout, unless the user names another.
ifeq ($(UNDIFFUSE_TEST_DATA),)
ifneq ($(wildcard ../shared/data),)
export UNDIFFUSE_TEST_DATA := $(abspath ../shared/data)
endif
endif

COUNT ?= 20000

.PHONY: demo test fuzz check mutants docs bench gallery clean gpu
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests  # one thread each: two workers fill two cores

fuzz: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/long.py --count $(COUNT)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants/mutate.py $(FILES) $(if $(CORE),--core) $(if $(SAMPLE),--sample $(SAMPLE))

gpu: $(INSTALLED)
	$(BIN)/python -m benchmarks.gpu

bench: $(INSTALLED)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.all

docs: $(INSTALLED)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs,onnx]'
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/live.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

gallery: $(INSTALLED)
	$(BIN)/python examples/all.py

clean:
	rm -rf $(VENV) build *.egg-info
