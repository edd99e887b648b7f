# make app    set everything up and open the app
# make test   set everything up, lint, check types, run every test, two files at a time (WORKERS=4: four)
# make quick  the same without types, browsers, other processes and trainings
# make bench  measure the speeds that docs/speed.md states
# make dist   build the sdist and the wheel, networks included, in dist/
BIN = .venv/bin
.PHONY: app setup test bench dist chromium caddy clean quick

app: .venv/run
	$(BIN)/python -m ulsam_viz app $(if $(PORT),--port=$(PORT))

setup: .venv/dev

# One stamp for what the app needs, one for what development needs: `make app` installs no test tools.
# Debian's Python comes without venv: it is added where that may be done, elsewhere the message says what to do.
USABLE = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
VERSION = import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit(1); print("python%d.%d-venv" % v)
.venv/run: requirements.txt
	@set -e; \
	usable() { for p in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  if $$p -c '$(USABLE)' 2>/dev/null; then echo $$p; return; fi; done; }; \
	missing() { for p in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  if $$p -c '$(VERSION)' 2>/dev/null; then return; fi; done; echo python3-venv; }; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  if [ -z "$$(usable)" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $$(missing)"; apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$(missing) >/dev/null; fi; \
	  if [ -z "$$(usable)" ]; then \
	    echo "Python 3.11, 3.12 or 3.13 with venv is needed. Debian and Ubuntu: sudo apt-get install $$(missing)"; \
	    echo "Another interpreter: make PYTHON=/path/to/python3.12"; exit 1; fi; \
	  rm -rf .venv; $$(usable) -m venv .venv; fi
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	@touch $@

.venv/dev: .venv/run requirements-dev.txt requirements-ray.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	@touch $@

# Debian's browser, where it may be installed; elsewhere the browser tests say that they were skipped.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing chromium"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null \
	      || echo "chromium could not be installed: the browser tests will be skipped"; \
	  else echo "no chromium: the browser tests will be skipped (to run them: sudo apt-get install chromium)"; fi; }

# The proxy of deploy/, for its tests: only where a machine is there for testing, since Debian's package starts a server.
caddy:
	@command -v caddy >/dev/null || [ -z "$$CI" ] || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || { \
	  echo "installing caddy"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends caddy >/dev/null \
	    || echo "caddy could not be installed: the proxy's tests will be skipped"; }

test: .venv/dev chromium caddy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile

SLOW = browser* walking team package batch_* deploy* privacy training zoo_file bases app
quick: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -n $(or $(WORKERS),2) --dist loadfile $(SLOW:%=--ignore-glob='tests/test_%.py')

bench: .venv/dev chromium
	$(BIN)/python -m benchmarks

dist: .venv/dev
	$(BIN)/python -m hatchling build -t sdist -t wheel

clean:
	rm -rf .venv
