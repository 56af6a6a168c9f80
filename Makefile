# make setup | check | test | test-slow | bench | demo | demo-seeds
PYTHON ?= python3
BIN = .venv/bin
DEMO = demo
# Where pip is told of local wheels, uv is told too; elsewhere the variable is empty.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup check test test-slow bench demo demo-seeds

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --compile-bytecode --constraints constraints.txt --editable '.[dev]'
	touch $@

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: .venv/ready
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/ready
	$(BIN)/python -m pytest -q -m slow --timeout 1200

bench: .venv/ready
	$(BIN)/python benchmarks/region_loss.py
	$(BIN)/python -W ignore benchmarks/shard_build.py
	PYTHONPATH=. $(BIN)/python benchmarks/sentences.py
	PYTHONPATH=. $(BIN)/python -W ignore benchmarks/stream.py --samples 800 --batch 32 --rounds 3
	PYTHONPATH=. $(BIN)/python -W ignore benchmarks/stream_plan.py

# Phantoms, shards, training on two ranks, held-out test: demo/index.html and demo/metrics.json.
demo: .venv/ready
	rm -rf $(DEMO)
	$(BIN)/sentalign phantom $(DEMO)/phantoms --studies 2460 --seed 1 --test-studies 160 --validation-studies 100 --processes 2
	$(BIN)/sentalign shard build mimic-cxr $(DEMO)/phantoms --out $(DEMO)/shards --size 129
	$(BIN)/sentalign train configs/phantom-cpu.yaml --ranks 2 run=$(DEMO)/run data.shards=$(DEMO)/shards validation.boxes=$(DEMO)/phantoms track.uri=sqlite:///$(DEMO)/mlflow.db
	$(BIN)/sentalign evaluate ms-cxr --data $(DEMO)/phantoms --run $(DEMO)/run --out $(DEMO) --withheld cavity --withheld-phrases $(DEMO)/phantoms/phantom.json
	@printf '\nExpected over random starts\n\n'
	$(BIN)/sentalign study --table docs/study/demo.json

# The demo over eight random starts and two further sets of phantoms: runs/study/demo/table.md. Hours; resumes.
demo-seeds: .venv/ready
	$(BIN)/sentalign study configs/study/demo.yaml
