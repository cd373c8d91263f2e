# Everything starts here: `make help` says what there is.
# Needs Python 3.10 or later with venv, and make; the rest comes from PyPI into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK   := .ci/lock.txt
LOCK_DOCS := .ci/lock-docs.txt
TRACE  ?= traces/ksm-adjacent-anon.yaml

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test check format golden bench scaling verify-6.12 kernels verify-kernels compiled \
	conformance mutations mangled matrix changes mutants browser pythons lowest newest wheels elsewhere lock docs man peers picture clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMP) ## replay a trace before and after the KSM series (TRACE=FILE for another)
	@for kernel in pre-patch post-patch; do \
		echo; echo "\$$ vmatrace replay $(TRACE) --kernel $$kernel"; \
		$(BIN)/vmatrace replay $(TRACE) --kernel $$kernel || exit; \
	done

test: check ## everything that CI runs: the checks below, then all tests
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(STAMP) ## ruff (lint and format) and mypy, no tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP) ## reformat the code with ruff
	$(BIN)/ruff format

golden: $(STAMP) ## rewrite the expected outputs in tests/ from what vmatrace prints now
	$(BIN)/python -m pytest --update-golden

bench: $(STAMP) ## measure speed and memory: a table here, JSON in .bench.json (BENCH=--quick: less)
	$(BIN)/python tests/bench/bench.py --json .bench.json $(BENCH)

scaling: $(STAMP) ## measure one command over 10,000 traces by processes and a cluster (TRACES=N)
	$(BIN)/python tests/bench/scaling.py --traces $(TRACES)
TRACES ?= 10000

# The Debian package linux-image-6.12-amd64; another kernel: make verify-6.12 KERNEL=/boot/vmlinuz-...
KERNEL ?= $(lastword $(sort $(wildcard /boot/vmlinuz-6.12.*)))
verify-6.12: $(STAMP) ## verify traces and random programs on Debian's 6.12 kernel, in QEMU
	@test -n "$(KERNEL)" && test -e "$(KERNEL)" || { \
		echo "no kernel 6.12 in /boot (Debian: apt install linux-image-6.12-amd64)" >&2; exit 1; }
	@command -v qemu-system-x86_64 >/dev/null || { \
		echo "no qemu-system-x86_64 (Debian: apt install qemu-system-x86)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet virtme-ng
	PATH="$(abspath $(BIN)):$$PATH" vng --disable-kvm --run $(KERNEL) --cpus 1 --memory 1G --append no5lvl \
		-- sh tests/verify/in-guest.sh </dev/null

# Debian's cloud images (tests/boot/images.tsv), some of them with RELEASES="6.12.117 7.3.4".
RELEASES ?=
kernels: $(STAMP) ## fetch Debian's kernel images into the user's cache (120 MB kept; needs apt)
	@$(BIN)/python tests/boot/kernel_images.py $(RELEASES)

EVENTS ?= 20000
KERNEL_MODEL ?= post-patch
verify-kernels: $(STAMP) ## traces, recordings and EVENTS random events on each of them, in QEMU
	@$(BIN)/python tests/boot/verify_kernels.py --events $(EVENTS) $(RELEASES)

# The extensions are found before the sources: make it again after a change, or `make clean`.
compiled: $(STAMP) ## compile it in place: more than twice as fast (needs a C compiler; a minute)
	@$(BIN)/python .ci/backend.py

conformance: $(STAMP) ## write traces/ as C programs with a runner (KERNEL_MODEL=6.18); build/conformance
	$(BIN)/python tests/conformance/pack.py build/conformance --kernel $(KERNEL_MODEL)

mutations: $(STAMP) ## break the model's rules one at a time; verify has to catch each (2 minutes)
	$(BIN)/python tests/verify/mutations.py

mangled: $(STAMP) ## damaged inputs of every format must be read or refused in words (INPUTS=1000000)
	$(BIN)/python tests/mangle.py --inputs $(INPUTS)
INPUTS ?= 20000

changes: $(STAMP) ## hunt for what releases changed: docs/reference/changes-by-example.md (30 minutes)
	$(BIN)/python tests/bench/changes.py > $@.tmp
	mv $@.tmp docs/reference/changes-by-example.md

STRACES ?= strace
matrix: $(STAMP) ## one program under strace with each set of options, read alike (STRACES="strace PATH")
	$(BIN)/python tests/importers/strace/matrix.py $(STRACES)

mutants: $(STAMP) ## break the code in a fixed sample of places; tests have to catch each (an hour)
	@$(BIN)/python -m pip install --quiet 'mutmut>=3.8,<4'
	$(BIN)/python tests/mutants/run.py --show $(MUTANTS)

browser: ## install what the tests of the HTML page need (Debian, as root)
	apt-get install --yes --no-install-recommends chromium chromium-driver

NOX = $(BIN)/nox --noxfile .noxfile.py --session
pythons: $(STAMP) ## the tests under every other Python from 3.10 on that is here (PATH, pyenv)
	$(NOX) pythons

lowest: $(STAMP) ## the tests with the lowest versions that pyproject.toml allows
	$(NOX) lowest

newest: $(STAMP) ## the checks and the tests with the newest versions, not those of the lock
	$(NOX) newest

wheels: $(STAMP) ## build a wheel with extensions and one without, and run the tests on each
	$(NOX) wheels

elsewhere: $(STAMP) ## the tests shuffled, read-only, as nobody, LC_ALL=C (Debian: python3-venv)
	$(NOX) elsewhere

# Exact versions with their hashes, of the same file for every Python and platform.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --generate-hashes \
	--custom-compile-command 'make lock' pyproject.toml
lock: $(STAMP) ## choose the versions that .venv is made of anew, from pyproject.toml
	@$(BIN)/python -m pip install --quiet 'uv>=0.5'
	$(COMPILE) --extra dev --output-file $(LOCK)
	$(COMPILE) --extra docs --constraint $(LOCK) --output-file $(LOCK_DOCS)

# Only the installation needs a network. The site is in build/site.
docs: $(VENV)/.docs ## build the site of docs/ (no network, no dead link); build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file .mkdocs.yml

$(VENV)/.docs: $(STAMP) $(LOCK_DOCS)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement $(LOCK_DOCS)
	@touch $@

man: $(STAMP) ## write the man pages, docs/man/, of what --help says
	$(BIN)/python tests/man/manpages.py docs/man

# stress-ng (Debian: apt install stress-ng), and folders of LTP's and of built mm selftests. Half an hour.
LTP ?=
SELFTESTS ?=
peers: $(STAMP) ## record other suites and check each run: docs/peers.md (LTP=, SELFTESTS=)
	$(BIN)/python tests/peers/peers.py $(if $(LTP),--ltp $(LTP)) $(if $(SELFTESTS),--selftests $(SELFTESTS))

CHROMIUM ?= chromium
picture: $(STAMP) ## take the picture of the report page again, docs/images/report.png (needs chromium)
	$(BIN)/python tests/browser/picture.py $(CHROMIUM)

clean: ## remove .venv and everything that was generated
	rm -rf $(VENV) .nox build dist *.egg-info .bench.json .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find vmatrace tests -name __pycache__ -type d -prune -exec rm -rf {} +
	find vmatrace -name '*.so' -delete

# Remade whenever a version changes. An editable install: .venv/bin/vmatrace runs this tree.
$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "vmatrace needs Python 3.10 or later (make PYTHON=python3.12 ...)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks venv: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement $(LOCK)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
