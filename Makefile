# Everything a fresh Debian machine with Python 3.11 needs is installed by the targets below.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3 /usr/bin/python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
VENV := .venv
BIN := $(VENV)/bin
CPP_BUILD := build/cpp

DEBIAN_BUILD := g++ cmake make pkg-config protobuf-compiler libprotobuf-dev libcurl4-openssl-dev python3-venv
DEBIAN_TEST := xrootd-server postgresql curl openssl
DEBIAN_LINT := clang-tidy
DEBIAN_BENCH := hey

.PHONY: help install debian-build debian-test debian-lint debian-bench cpp demo test lint proto bench bench-data bench-training soak clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# Installs the missing ones of the Debian packages given as $(1); touches nothing when all are there.
define debian_install
	@missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing" $$missing; \
	$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; fi
endef

debian-build:
	$(call debian_install,$(DEBIAN_BUILD))

debian-bench:
	$(call debian_install,$(DEBIAN_BENCH))

debian-test:
	$(call debian_install,$(DEBIAN_TEST))

debian-lint:
	$(call debian_install,$(DEBIAN_LINT))

$(BIN)/.installed: pyproject.toml clients/python/pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install -q -c constraints.txt --build-constraint constraints.txt -e . -e clients/python --group dev
	touch $@

$(BIN)/.installed-test: $(BIN)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt --group test
	touch $@

install: debian-build $(BIN)/.installed ## virtual environment, Python packages, build tools

cpp: debian-build ## the C++ client, its example and its tests
	@cmake -S clients/cpp -B $(CPP_BUILD) -DCMAKE_BUILD_TYPE=Release -Wno-dev > /dev/null
	@cmake --build $(CPP_BUILD) --parallel 2 -- --no-print-directory

demo: install cpp ## from ROOT files to a served model, end to end
	@$(BIN)/python -m mlaas.demo --cpp $(CPP_BUILD)

proto: install ## generate the Python messages from proto/tfaas.proto
	@$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=tfaas/codecs --pyi_out=tfaas/codecs proto/tfaas.proto
	@$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=clients/python/tfaas_client --pyi_out=clients/python/tfaas_client proto/tfaas.proto

lint: install debian-lint cpp ## ruff, mypy and clang-tidy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@cd clients/python && ../../$(BIN)/mypy
	@cmake --build $(CPP_BUILD) --target tfaas_tidy --parallel 2 -- --no-print-directory 2> >(grep -v 'warnings generated' >&2)

test: lint debian-test $(BIN)/.installed-test ## lint and every test
	@$(BIN)/python -m pytest

bench: install debian-bench ## every figure of the serving path, beside what it is compared with
	@$(BIN)/python -m benchmarks

bench-data: install ## the data layer beside uproot alone; BENCH_DATA=--large adds a file of 2 GB
	@$(BIN)/python -m benchmarks.data $(BENCH_DATA)

bench-training: install ## training from files beside Keras on arrays in memory
	@$(BIN)/python -m benchmarks.training

soak: install ## ten minutes of mixed clients, uploads, deletes and killed workers, 1,000 upload cycles, a bundle of 1 GB
	@$(BIN)/python -m benchmarks.soak

clean: ## remove what the targets above have built
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
