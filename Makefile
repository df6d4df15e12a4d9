# Two commands matter: `make demo` and `make test`. Both set themselves up on a fresh machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TEST_PROCESSES ?= 2

.PHONY: setup servers test check demo screenshots bench bench-report faults soak fmt lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@scripts/setup-venv "$(PYTHON)" "$(VENV)"

# Real servers that the tests talk to (sshd, mosquitto, libmodbus); named and failed loudly if missing.
servers:
	@scripts/setup-servers

test: $(READY) servers
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

demo: $(READY)
	@scripts/setup-servers mosquitto >/dev/null 2>&1 || true  # without it the demo says so, and takes files
ifdef HEADLESS
	@$(BIN)/outstation demo --headless $(HEADLESS)
else
	@$(BIN)/outstation demo
endif

screenshots: $(READY)
	$(BIN)/python scripts/screenshots.py

bench: $(READY)
	$(BIN)/python -m bench

# One of them: make bench-serving
bench-%: $(READY)
	$(BIN)/python -m bench $*

# docs/performance.md and README's table, out of what the benches kept in build/bench
bench-report: $(READY)
	$(BIN)/python -m bench.report

# Long: every kill, power cut, failing write, cut upload and mutated bundle (docs/reliability.md), then a thousand rollouts.
faults: $(READY) servers
	$(BIN)/python -m tests.faults --report docs/reliability.md
	OUTSTATION_ROLLOUT_SEEDS=1000 $(BIN)/python -m pytest tests/console/rollout/test_rollout_simulation.py tests/console/rollout/test_rollout_walk.py -n $(TEST_PROCESSES) --dist load --timeout 0

# An hour of the demo's plant with a fault every 20 s: make soak MINUTES=10
soak: $(READY) servers
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60)

fmt: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Rewrites requirements.lock from pyproject.toml; needs uv on the PATH.
lock:
	uv pip compile pyproject.toml --extra agent --extra console --extra modbus --extra mqtt \
	  --extra image --extra opcua --extra s7 --extra eip --extra export --extra kit --group dev --group train --group peers --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url -o requirements.lock

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
