# One menu. `make demo` and `make test` set themselves up on a machine that has Python 3.11 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SEEDS  ?= 20000
FROM   ?= 1000

.PHONY: help demo test test-browser pictures fixtures check soak fix bench bench-compare bench-peers constraints clean
help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "sipbatch needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group test --group check \
	    --constraint constraints.txt
	@touch $@

demo: $(VENV)/.ready  ## the main job against the embedded sandbox, which answers some requests with 429 and 503
	$(BIN)/sipbatch plan sample_csvs/carrier_migration.csv --workspace demo-runs
	$(BIN)/sipbatch run sample_csvs/carrier_migration.csv --yes --workspace demo-runs --rate 50/s \
	    --sandbox --sandbox-limit 50/s --sandbox-latency 20ms..80ms \
	    --sandbox-fault 429=0.01 --sandbox-fault 503=0.01 --sandbox-seed 7

test: $(VENV)/.ready  ## the tests, but for those that need a browser
	$(BIN)/python -m pytest

test-browser: $(VENV)/.ready ## the page in a real Chromium, which apt installs if it is not there
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	    as=; [ "$$(id -u)" = 0 ] || as=sudo; \
	    $$as apt-get update -q && $$as apt-get install -y -q --no-install-recommends chromium chromium-driver; }
	$(BIN)/python -m pytest -m browser

pictures: $(VENV)/.ready ## the pictures of README and docs; apt installs what they need
	@command -v tmux >/dev/null && command -v soffice >/dev/null && command -v pdftoppm >/dev/null \
	    && command -v chromium >/dev/null || { \
	    as=; [ "$$(id -u)" = 0 ] || as=sudo; \
	    $$as apt-get update -q && $$as apt-get install -y -q --no-install-recommends \
	        tmux libreoffice-calc poppler-utils chromium fonts-dejavu-core; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs --constraint constraints.txt
	$(BIN)/python docs/pictures/make_pictures.py

fixtures: $(VENV)/.ready ## the workbooks that tests read, written anew; apt installs LibreOffice if it is not there
	@command -v soffice >/dev/null && /usr/bin/python3 -c 'import uno' 2>/dev/null || { \
	    as=; [ "$$(id -u)" = 0 ] || as=sudo; \
	    $$as apt-get update -q && $$as apt-get install -y -q --no-install-recommends \
	        libreoffice-calc libreoffice-writer python3-uno; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fixtures --constraint constraints.txt
	$(BIN)/python -m tests.fixtures.sheets.make_fixtures

check: $(VENV)/.ready ## format, lint, types and all tests, also in a browser where there is one; what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "browser or not browser"

soak: $(VENV)/.ready  ## the simulation with many more seeds: make soak SEEDS=20000 FROM=1000
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM)

fix: $(VENV)/.ready   ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready ## speed and memory beside their peers, as a table of ratios (BENCH="--quick --only plan")
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench --constraint constraints.txt
	@mkdir -p build
	$(BIN)/python -m benchmarks --json build/bench.json $(BENCH)

bench-compare: $(VENV)/.ready ## the same, beside the figures of an earlier build/bench.json: BEFORE=FILE
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench --constraint constraints.txt
	@mkdir -p build
	$(BIN)/python -m benchmarks --json build/bench.json --compare $(BEFORE) $(BENCH)

bench-peers:     ## install what make bench also measures where it is there: GNU parallel, curl, the vendor's tool
	@as=; [ "$$(id -u)" = 0 ] || as=sudo; \
	$$as apt-get update -q && $$as apt-get install -y -q --no-install-recommends curl parallel
	npm install --silent --no-save --prefix build/peers bland-cli@0.6.1

constraints:     ## the newest versions of everything, for constraints.txt; `make check` says whether they will do
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group test --group check
	{ sed -n '/^#/p' constraints.txt; \
	  $(BIN)/python -m pip list --format=freeze --exclude-editable --exclude pip --exclude setuptools; } > constraints.new
	mv constraints.new constraints.txt
	@touch $(VENV)/.ready

clean:           ## remove what make made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
