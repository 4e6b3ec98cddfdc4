# make run    serve admin, API and sockets, with demo data, on a machine with Python 3.11+ and nothing else
# make test   the whole suite, on SQLite and on PostgreSQL
# make check  style, types, layers, migrations, documents
# make docs   docs/ as a site in site/; a warning or a broken link fails it
# make messages  texts that templates and scripts want translated, into locale/; see CONTRIBUTING.md
# make images  the pictures of docs/images/; look at them before you commit
# make soak   the promises, each proved by numbers; minutes
# make rolling  a rolling deploy under 2,000 sockets; with ARGS="--set sockets=500" fewer
# make sabotage   one defence after another taken away: its test must notice; minutes
# make lock   requirements*.txt anew from requirements*.in: every version with its hashes
# make bench  our servers beside their peers; 45 minutes, with ARGS=--quick a few

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check docs lock soak rolling sabotage bench format

run: .venv/runtime .env
	@$(BIN)/python manage.py migrate -v 0
	@$(BIN)/python manage.py demo --if-empty
	@exec $(BIN)/python manage.py serve

test: .venv/development
	@$(BIN)/python -m testing

# mypy's Django plugin and makemigrations read the settings; a developer's .env must not matter.
check: export SECRET_KEY = check
check: export ENV_FILE =
check: .venv/development docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m testing.migrations

# With --quiet mkdocs would not count its warnings.
docs: .venv/development
	$(BIN)/mkdocs build --strict

format: .venv/development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The .mo files are committed: `make run` must not need gettext. A test fails when they are stale.
messages: export SECRET_KEY = messages
messages: export ENV_FILE =
messages: .venv/development
	@for domain in django djangojs; do $(BIN)/python manage.py makemessages --domain $$domain \
		--locale ru --locale uz --no-location --no-obsolete --no-wrap --ignore .venv --ignore testing --ignore "*/tests/*" --ignore site \
		--ignore docs --ignore staticfiles; done
	@$(BIN)/python manage.py compilemessages --ignore .venv --verbosity 0

images: .venv/development
	@$(BIN)/python -m testing.images

soak: .venv/development
	@$(BIN)/python -W ignore -m testing.soak

rolling: .venv/development
	@$(BIN)/python -W ignore -m testing.soak rolling $(ARGS)

sabotage: .venv/development
	@$(BIN)/python -m testing.sabotage

# For all platforms at once, and the oldest Python that we support. A version stays until something
# asks for another: ARGS="--upgrade-package redis", or ARGS=--upgrade.
COMPILE = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(ARGS)

lock: .venv/development
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-push.in -c requirements.txt -o requirements-push.txt
	$(COMPILE) requirements-otel.in -c requirements.txt -c requirements-push.txt -o requirements-otel.txt
	$(COMPILE) requirements-dev.in -c requirements.txt -c requirements-push.txt -c requirements-otel.txt \
		-o requirements-dev.txt

bench: .venv/development
	@$(BIN)/python -m benchmarks $(ARGS)

# With a key of its own: the one of the example is published.
.env: | .venv/bin/python
	@umask 077 && key=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
		&& sed "s/^SECRET_KEY=.*/SECRET_KEY=$$key/" .env.example > .env.new && mv .env.new .env

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is wanted (PYTHON=/path/to/python3 make run)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv >.venv.log 2>&1 \
		|| { rm -rf .venv .venv.log; echo "error: no virtual environment could be made: install python3-venv" >&2; exit 1; }
	@rm -f .venv.log

.venv/runtime: requirements.txt | .venv/bin/python
	@echo "Installing requirements.txt into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/development: requirements-dev.txt requirements.txt | .venv/bin/python
	@echo "Installing requirements-dev.txt into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ .venv/runtime
