# make app    set everything up and open the app
# make test   set everything up, lint, check types, run every test
# make bench  measure every figure of the README (the accuracy needs DATA=folder of the datasets)
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN = .venv/bin
.PHONY: app setup test bench chromium python clean

app: .venv/run
	$(BIN)/streamlit run app.py $(if $(PORT),--server.port=$(PORT))

setup: .venv/dev

# One stamp for what the app needs, one for what development needs: `make app` installs no test tools.
.venv/run: requirements.txt
	@test -n "$(PYTHON)" || $(MAKE) --no-print-directory python
	test -x $(BIN)/python || $(or $(PYTHON),python3) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	@touch $@

.venv/dev: .venv/run requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	@touch $@

# Debian's browser, where it may be installed; elsewhere the browser tests say that they were skipped.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing chromium"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	  else echo "no chromium: the browser tests will be skipped (to run them: sudo apt-get install chromium)"; fi; }

test: .venv/dev chromium
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench: .venv/dev
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA))

# Debian's Python comes without venv: add it where that may be done, say what to do elsewhere.
python:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing python3-venv"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv >/dev/null; \
	else \
	  echo "Python 3.11, 3.12 or 3.13 with venv is needed. Debian and Ubuntu: sudo apt-get install python3 python3-venv"; \
	  echo "Another interpreter: make PYTHON=/path/to/python3.12"; exit 1; fi

clean:
	rm -rf .venv
