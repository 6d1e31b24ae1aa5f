# A thin face over `vividpose`. Everything is set up on first use, into .venv.
PYTHON ?= python3
VENV   ?= .venv
OUT    ?= data
PROFILE ?= auto
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --no-compile -c constraints.txt
# Anything else for the command, e.g. ARGS="--strict --executor inline".
ARGS   ?=
# SRC may hold spaces, so it is quoted below and handed over through the environment.
export SRC OUT
# One thread per numerical operator: parallelism comes from the actors, and results do not depend on the machine.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup setup-dev setup-train shards inspect doctor train latents animate evaluate audit docker test test-all check \
	bench-pipelines bench-model bench-stream clean

help:
	@echo "make shards SRC=videos/ [OUT=data] [PROFILE=auto|lite|full] [ARGS=...]   videos to shards (no SRC: demo videos)"
	@echo "make inspect OUT=data            pictures of what is in the shards"
	@echo "make doctor                      what is installed, what is missing"
	@echo "make test | test-all             the tests; with the slow ones"
	@echo "make check                       linter and type checker"
	@echo "make bench-pipelines             measure the data engine"

$(VENV)/.base: pyproject.toml constraints.txt
	@sh docker/check-system.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

# insightface and rtmlib ask for OpenCV builds with windows, which need X libraries and lie over the headless one:
# the headless one goes in last, and rtmlib, a yardstick of the tests, without what it asks for.
$(VENV)/.dev: $(VENV)/.base
	@sh docker/check-system.sh $(PYTHON) test
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps rtmlib
	$(BIN)/pip uninstall --quiet --yes opencv-python
	$(PIP) --no-deps --force-reinstall opencv-python-headless
	@touch $@

setup: $(VENV)/.base
setup-dev: $(VENV)/.dev

shards: $(VENV)/.base
	@$(BIN)/vividpose shards $${SRC:+"$$SRC"} --out "$$OUT" --profile $(PROFILE) $(ARGS)

inspect: $(VENV)/.base
	@$(BIN)/vividpose inspect "$$OUT" --out "$$OUT/inspect" $(ARGS)

doctor: $(VENV)/.base
	@$(BIN)/vividpose doctor

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow or not slow" $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench-pipelines: $(VENV)/.dev
	$(BIN)/python -m benchmarks.engine $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info
