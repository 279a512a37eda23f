# `make demo` and `make test` set up all they need; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

PYTHON ?= python3
RESULTS := benchmarks/results
KINDS := house wheels counter display print handwriting
READMES := README.md benchmarks/README.md train/README.md train/recipes/seed/README.md
VENV := .venv
BIN := $(VENV)/bin
DEMO := .venv-demo/bin

.PHONY: help demo test device-test check wheel readme bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install the device side alone (no torch) and read 200 drawn frames"
	@echo "make test    install everything and run the tests"
	@echo "make device-test  read through the real picamera2 and a V4L2 device, and flash, in virtual machines (root; see tests/device/README.md)"
	@echo "make check   ruff, ruff format, mypy, import-linter"
	@echo "make bench   measure the shipped bundles again and render the READMEs' tables"
	@echo "make readme  render the READMEs' tables from benchmarks/results"
	@echo "make clean   remove environments, demo and dist; runs stay"

# Environments are made anew when the dependencies change.
.venv-demo/ready: pyproject.toml
	@echo "== installing the device side into .venv-demo (LiteRT, OpenCV, numpy, the page; about 300 MB, no torch)"
	@$(PYTHON) -m venv .venv-demo
	@$(DEMO)/pip install --quiet --disable-pip-version-check --editable ".[litert,web]"
	@touch $@

# torch by its exact pin: an open range brings several GB of CUDA packages.
$(VENV)/ready: pyproject.toml
	@echo "== installing everything into .venv (torch, ONNX and TFLite tools; about 2.5 GB, some minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: .venv-demo/ready
	@echo "== reading 200 drawn frames with the int8 TFLite network; one JSON line a frame goes to demo/readings.jsonl"
	@mkdir -p demo
	@$(DEMO)/digitcam run --source demo: --frames 200 --format int8.tflite --sheet demo/frames.png | tee demo/readings.jsonl
	@echo "== some of the frames with their boxes: demo/frames.png"

test: $(VENV)/ready
	@echo "== running the tests (set DIGITCAM_DATA to a folder with mnist/ for those that need it)"
	@$(BIN)/python -m pytest

device-test: $(VENV)/ready
	@echo "== the real picamera2 with libcamera's virtual camera, in a Debian chroot (made at the first run, some minutes)"
	@tests/device/picamera2_virtual.sh
	@echo "== a V4L2 device of Debian's kernel, in a virtual machine (made at the first run, some minutes)"
	@tests/device/v4l2_guest.sh
	@echo "== int8 answers of an arm64 processor, emulated, beside this machine's (its system is made at the first run)"
	@tests/device/arm64_outputs.sh
	@echo "== a flash onto an arm64 machine with systemd, emulated, broken in every way (its disk is made at the first run)"
	@tests/device/flash_machine.sh

check: $(VENV)/ready
	@echo "== style, types, and which part may import which"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/ready
	$(BIN)/digitcam bench debug canvas --data canvas-variable --out $(RESULTS)/canvas-debug.json
	$(BIN)/digitcam bench peers canvas --format int8.onnx --out $(RESULTS)/canvas-peers.json
	for name in canvas digitcam-s digitcam-n; do \
	  $(BIN)/digitcam bench accuracy $$name --split test --data canvas-variable --data canvas-five --out $(RESULTS)/$$name-accuracy.json && \
	  $(BIN)/digitcam bench accuracy $$name --split test --data street --data street-empty --data wheels --data datecodes --out $(RESULTS)/$$name-world.json && \
	  $(BIN)/digitcam bench accuracy $$name --split train --data svhn-photographs --out $(RESULTS)/$$name-svhn.json || exit; done
	for name in digitcam-s digitcam-n; do \
	  $(BIN)/digitcam bench accuracy $$name --split test --count 1000 $(KINDS:%=--data street-%) --out $(RESULTS)/$$name-kinds.json && \
	  $(BIN)/digitcam bench debug $$name --data street --out $(RESULTS)/$$name-debug.json && \
	  $(BIN)/digitcam bench peers $$name --format int8.onnx --data street --frames 200 --tune 12 --out $(RESULTS)/$$name-peers.json || exit; done
	$(BIN)/digitcam bench overhead canvas --out $(RESULTS)/canvas-overhead.json
	for name in canvas digitcam-s digitcam-n; do \
	  $(BIN)/digitcam bench latency $$name --threads 1 --threads 2 --out $(RESULTS)/$$name-latency.json && \
	  $(BIN)/digitcam bench training train/recipes/$$name.toml --out $(RESULTS)/$$name-training.json || exit; done
	$(BIN)/digitcam bench sweep digitcam-s digitcam-n --images 100
	$(BIN)/digitcam bench history $(RESULTS)
	$(BIN)/digitcam bench report $(RESULTS) --out runs/report.html
	$(MAKE) readme

readme: $(VENV)/ready
	@$(BIN)/python -m digitcam.benchmarks.readme $(READMES)

clean:
	rm -rf .venv .venv-demo demo dist
