# Two commands are all a fresh machine needs: make run, make test.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.bot4-installed
UV_VERSION := 0.13.9
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))

# Hundreds of processes start here. Where the environment forbids to keep compiled bytecode (container images often do),
# half of each start goes into compiling anew what the one before compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup run test test-slow lint lock clean help

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## fill .venv from the lock

# uv installs in seconds; pip is the fallback where uv cannot reach the registry as configured.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "bot4 needs Python 3.11: install it, or call make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@echo "setup: installing the lock into $(VENV)"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install -q $(FIND_LINKS) -r requirements.lock \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## the main job, end to end (CAPTURE=FILE for your own market)
	@$(BIN)/bot4 demo $(if $(CAPTURE),--capture "$(CAPTURE)")

test: setup ## linters, types, contracts and the tests
	@$(BIN)/python -m bot4_live.warm & warm=$$!; \
	  $(MAKE) --no-print-directory lint && wait $$warm || { kill $$warm 2>/dev/null; exit 1; }
	@$(BIN)/pytest -q -n 2 --dist loadscope -m "not slow" $(ARGS)

test-slow: setup ## the long tests
	@$(BIN)/python -m bot4_live.warm
	@$(BIN)/pytest -q -m slow $(ARGS)

lint: setup ## ruff, mypy, import-linter: the hooks of .pre-commit-config.yaml, all local
	@$(BIN)/pre-commit run --all-files --show-diff-on-failure

# torch's CPU wheel is taken where one is offered, not required; what its CUDA build needs comes with that build.
lock: ## renew requirements.lock from pyproject.toml
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q uv==$(UV_VERSION); }
	@$(BIN)/uv pip compile -q --python-version 3.11 --extra dev $(FIND_LINKS) --no-emit-find-links --no-annotate --no-header \
	  $(LOCK_ARGS) -o $(VENV)/requirements.lock pyproject.toml
	@sed -e 's/^\(torch==[0-9.]*\)+cpu$$/\1/' -e '/^\(nvidia-\|cuda-\|triton==\)/d' $(VENV)/requirements.lock > requirements.lock
	@rm $(VENV)/requirements.lock

clean: ## remove what runs left under var/
	@rm -rf var
