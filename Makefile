# Commands for a checkout; `make` lists them. All of them run in the virtual environment .venv, made on first use.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo photos android install test test-all test-processors lint benchmark fuzz clean
PYTHON ?= python3
PYTEST := -m pytest -n 2 --dist=worksteal
RUN := .venv/bin/python
# Benchmarks that need photos of yours, or an accelerator.
ELSEWHERE := benchmarks/audit.py benchmarks/discriminants.py benchmarks/unknown.py benchmarks/train_gpu.py benchmarks/train_gpu_torch.py
# Only these are collected under tf_keras, and with other kernels, as reading all files takes a while.
BOTH = $(shell grep -rl both_generations tests --include="test_*.py")
KERNELS = $(shell grep -rl mark.kernels tests --include="test_*.py")

help: ## List these commands
	@echo "Each command first makes a virtual environment in .venv, once; PYTHON=python3.12 chooses its Python."
	@awk -F ' *:.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed ## Train ShuffleNetV2 on drawn signs, two to four minutes; leaves model and pictures in runs/v2
	@$(RUN) train_main.py --flagfile=v2.flags

photos: .venv/installed ## Train on your own photos, PHOTOS=PATH/<class>/*.jpg, and export for phones; FLAGS="--minutes=10 ..." adds flags
	@[[ -n "$(PHOTOS)" ]] || { echo "Which photos? Give the folder that holds a folder of each class: make photos PHOTOS=PATH" >&2; exit 2; }
	@$(RUN) train_main.py --flagfile=recipes/photos.flags "--dataset=folder:$(PHOTOS)" $(FLAGS)

android: .venv/installed ## Make the Android app from what was trained, or MODEL=file.tflite; leaves android_demo/app-debug.apk
	@if [[ -z "$(MODEL)" ]] && ! compgen -G 'runs/*/export/model_int8.tflite' >/dev/null; then \
		{ [[ -f runs/v2/model.keras ]] || $(RUN) train_main.py --flagfile=v2.flags; } && $(RUN) -m export.tflite --model=runs/v2; fi
	@models="$(MODEL)"; [[ -n "$$models" ]] || { newest=$$(ls -t runs/*/export/model_int8.tflite | head -1); \
		models="$${newest%int8.tflite}float32.tflite $$newest"; }; $(RUN) android_demo/tools/assemble.py $$models

install: .venv/installed ## Only make the virtual environment, to use as .venv/bin/python

test: .venv/installed ## Run the tests under both Keras generations, but for the long ones; some 8 minutes on two cores
	@$(RUN) $(PYTEST) -m "not long"
	@TF_USE_LEGACY_KERAS=1 $(RUN) $(PYTEST) -m "both_generations and not long" $(BOTH)

test-all: .venv/installed ## Run all tests, the long ones and all of their examples too; an hour
	@LONG_TESTS=1 $(RUN) $(PYTEST)
	@LONG_TESTS=1 TF_USE_LEGACY_KERAS=1 $(RUN) $(PYTEST) -m both_generations $(BOTH)

test-processors: .venv/installed ## Run the tests that depend on the processor's kernels with those of lesser ones too
	@echo "TensorFlow's own kernels, without oneDNN:"
	@TF_ENABLE_ONEDNN_OPTS=0 $(RUN) $(PYTEST) -m "kernels and not long" $(KERNELS)
	@TF_ENABLE_ONEDNN_OPTS=0 TF_USE_LEGACY_KERAS=1 $(RUN) $(PYTEST) -m "kernels and both_generations" tests/models/test_kernels.py
	@if [[ "$$(uname -m)" != x86_64 ]]; then echo "Skipped: oneDNN with AVX2 needs an x86 processor."; \
	elif ! grep -qs avx512 /proc/cpuinfo; then echo "Skipped: oneDNN with AVX2 is what this processor runs in make test anyway."; \
	else echo "oneDNN with AVX2:"; TF_ENABLE_ONEDNN_OPTS=1 ONEDNN_MAX_CPU_ISA=AVX2 $(RUN) $(PYTEST) -m "kernels and not long" $(KERNELS); fi

lint: .venv/installed ## Check format and style; repair with .venv/bin/ruff format and .venv/bin/ruff check --fix
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .

benchmark: .venv/installed ## Measure every speed that the README states; needs an otherwise idle machine; PEERS=a Python with others' engines
	@for script in $(filter-out $(ELSEWHERE),$(wildcard benchmarks/*.py)); do echo "== $$script"; $(RUN) "$$script" || exit 1; done
	@echo "== benchmarks/peers"; $(RUN) -m benchmarks.peers $(if $(PEERS),--peers_python="$(PEERS)")

fuzz: .venv/installed ## Feed 20,000 damaged files to all that reads files; FUZZ_SEED=7 and FUZZ_SECONDS=600 choose others
	@$(RUN) -m benchmarks.fuzz --seed=$(or $(FUZZ_SEED),0) $(if $(FUZZ_SECONDS),--seconds=$(FUZZ_SECONDS) --count=1000000)

clean: ## Remove the virtual environment and all caches; runs/ stays
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The second name of the constraints is for the build of source packages by pip 25.3 or newer. The environment is made
# anew if its Python no longer runs, for example after an upgrade of the system.
.venv/installed: setup.py constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON): install Python 3.10 to 3.13, or name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { echo "$$("$(PYTHON)" -V 2>&1) can't run TensorFlow: Python 3.10 to 3.13 is needed, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: on Debian or Ubuntu, apt-get install python3-venv." >&2; exit 1; }
	@$(RUN) -c pass 2>/dev/null || "$(PYTHON)" -m venv --clear .venv
	@echo "Installing TensorFlow and what goes with it into .venv: 0.8 GB to download, 2.8 GB on disk, once."
	@set -o pipefail; PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
		$(RUN) -m pip install -e '.[all]' | awk '/Downloading .*[0-9][0-9]\.[0-9] MB/ { print; fflush() }'
	@touch $@
