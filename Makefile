# A thin face over `vividpose`. Everything is set up on first use, into .venv.
PYTHON ?= python3
VENV   ?= .venv
OUT    ?= data
# The dataset that is audited, and whose latents are cached.
DATA   ?= data
PROFILE ?= auto
# A name in train/configs, or a YAML file. RANKS: how many processes (on GPUs: all of them, when it is left out).
CONFIG ?= tiny
RANKS  ?=
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --no-compile -c constraints.txt
# Anything else for the command, e.g. ARGS="--strict --executor inline".
ARGS   ?=
# SRC may hold spaces, so it is quoted below and handed over through the environment.
export SRC OUT DATA MODEL JOBS GENERATED TRUTH EVALUATION
# One thread per numerical operator: parallelism comes from the actors, and results do not depend on the machine.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup setup-dev setup-train shards inspect doctor train latents animate evaluate ablation audit docker \
	test test-all check bench-pipelines bench-model bench-stream bench-audit bench-plan clean

help:
	@echo "make shards SRC=videos/ [OUT=data] [PROFILE=auto|lite|full] [ARGS=...]   videos to shards (no SRC: demo videos)"
	@echo "make inspect OUT=data            pictures of what is in the shards"
	@echo "make audit DATA=data             what is in the dataset, what is wrong with it, what may be used"
	@echo "make latents DATA=data MODEL=folder   encode every frame once, for the trainer"
	@echo "make train CONFIG=tiny [RANKS=2]      train; the same command goes on where it was"
	@echo "make animate JOBS=jobs.jsonl MODEL=folder OUT=results   reference pictures and driving videos to mp4"
	@echo "make evaluate GENERATED=a TRUTH=b DATASET=generic [EVALUATION=evaluation]   the paper's metrics and tables"
	@echo "make ablation [ABLATION=runs/ablation] ARGS='--minutes 35'   the paper's ablation on films with ground truth"
	@echo "make doctor                      what is installed, what is missing"
	@echo "make test | test-all             the tests; with the slow ones"
	@echo "make check                       linter and type checker"
	@echo "make bench-pipelines | bench-model | bench-stream | bench-audit | bench-plan   measure the parts"
	@echo "make docker                      the two images"

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

# What Ray's agents serve to Prometheus is looked at in a slow test.
$(VENV)/.cluster: $(VENV)/.dev
	$(PIP) -e '.[cluster]'
	@touch $@

$(VENV)/.train: $(VENV)/.base
	$(PIP) -e '.[train]'
	@touch $@

$(VENV)/.evaluate: $(VENV)/.base
	$(PIP) -e '.[evaluate]'
	@touch $@

setup: $(VENV)/.base
setup-train: $(VENV)/.train
setup-dev: $(VENV)/.dev

shards: $(VENV)/.base
	@$(BIN)/vividpose shards $${SRC:+"$$SRC"} --out "$$OUT" --profile $(PROFILE) $(ARGS)

inspect: $(VENV)/.base
	@$(BIN)/vividpose inspect "$$OUT" --out "$$OUT/inspect" $(ARGS)

audit: $(VENV)/.base
	@$(BIN)/vividpose audit "$$DATA" $(ARGS)

latents: $(VENV)/.base
	@$(BIN)/vividpose latents "$$DATA" --model "$${MODEL:-tiny}" $(ARGS)

# Without a GPU DeepSpeed must be told so, and how many processes to start.
train: $(VENV)/.train
	@if ls /dev/nvidia0 >/dev/null 2>&1; then \
	    PATH="$(abspath $(BIN)):$$PATH" $(BIN)/deepspeed $(if $(RANKS),--num_gpus $(RANKS)) train/main.py --config $(CONFIG) $(ARGS); \
	else \
	    PATH="$(abspath $(BIN)):$$PATH" DS_ACCELERATOR=cpu $(BIN)/deepspeed --num_accelerators $(or $(RANKS),1) \
	        train/main.py --config $(CONFIG) $(ARGS); \
	fi

animate: $(VENV)/.base
	@$(BIN)/vividpose animate --jobs "$$JOBS" --model "$$MODEL" --out "$$OUT" $(ARGS)

evaluate: $(VENV)/.evaluate
	@$(BIN)/vividpose evaluate "$$GENERATED" "$$TRUTH" --dataset $(or $(DATASET),generic) --out "$${EVALUATION:-evaluation}" $(ARGS)

ablation: $(VENV)/.train
	@$(BIN)/python -m train.ablation --out "$(or $(ABLATION),runs/ablation)" $(ARGS)

docker:
	docker build -f docker/Dockerfile --target pipelines -t vividpose-pipelines .
	docker build -f docker/Dockerfile --target train -t vividpose-train .

doctor: $(VENV)/.base
	@$(BIN)/vividpose doctor

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-all: $(VENV)/.cluster
	$(BIN)/python -m pytest -m "slow or not slow" --timeout 3600 $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench-pipelines: $(VENV)/.dev
	$(BIN)/python -m benchmarks.engine $(ARGS)

bench-model bench-audit: bench-%: $(VENV)/.dev
	$(BIN)/python -m benchmarks.$* $(ARGS)

bench-plan: $(VENV)/.dev
	$(BIN)/python -m benchmarks.plan_scale $(ARGS)

bench-stream: $(VENV)/.dev
	$(BIN)/python -m benchmarks.stream --data "$$DATA" $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info
