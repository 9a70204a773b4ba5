# The project's commands; `make help` lists them. Anything longer than a line or two lives in .ci/.

.DEFAULT_GOAL := help
# One cargo at a time: two would only wait for each other's lock.
.NOTPARALLEL:

CARGO ?= cargo
PYTHON ?= python3
PREFIX ?= /usr/local
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
MODEL := all-MiniLM-L6-v2
LIBRARY := $(DESTDIR)$(PREFIX)/lib/bertline

.PHONY: help tools deps deps-cuda deps-cuda-train build model demo test bench bench-peers check-tokenizer check-kills check-scale check-gpu pack-gpu lint install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

tools:
	@.ci/tools

deps: tools ## put the pinned native libraries (ONNX Runtime, libtorch) under .native/; 620 MB, once
	@$(PYTHON) .cargo/deps.py

deps-cuda: tools ## put what a GPU needs (CUDA build of ONNX Runtime, CUDA libraries) there, too; 2.1 GB, once
	@$(PYTHON) .cargo/deps.py --cuda

deps-cuda-train: tools ## put what `train --device cuda` needs (CUDA part of libtorch) there, too; 3 GB, once
	@$(PYTHON) .cargo/deps.py --cuda-train

build: deps ## build bertline and bertline-train into target/release/ (or CARGO_TARGET_DIR)
	@$(CARGO) build --release

model: build ## get the default encoder model into the model cache
	@$(RELEASE)/bertline models pull $(MODEL)

demo: model ## ingest, embed, train and score the demo reviews, or those in DATA=<folder>; writes to demo-out/
	@.ci/demo

test: model ## run all tests; say how many were skipped and why
	@.ci/test

bench: model ## throughput of the parts, and of `embed` on real reviews or those in DATA=<path>; ONLY=<part>
	@.ci/bench

bench-peers: model ## set up the rivals of ../shared (6 GB, once), print the table; ONLY=<sections> ROUNDS=3 LIMIT=512
	@.ci/bench-peers

check-tokenizer: model ## compare ids and rate with Hugging Face tokenizers on all texts of ../shared
	@.ci/check-tokenizer

check-kills: model ## kill the stages 100 times at random instants (KILLS=100) and compare the outcome
	@BERTLINE_KILLS=$(or $(KILLS),100) .ci/test --test cli kills

check-scale: model ## 5 million short and 200,000 long reviews through a tiny encoder: rate, memory, kills; 10 GB of disk
	@BERTLINE_SCALE=1 .ci/test --test cli scale

check-gpu: ## vectors and rates on a GPU (after `make model deps-cuda`), one table; DRY=1 without one, ONLY=BERT-base, STEPS=bf
	@.ci/check-gpu

pack-gpu: ## what check-gpu needs on a machine without network, in 4 pieces of 60 MiB (after `make model deps-cuda`); ALL=1
	@.ci/pack-gpu

lint: deps ## check format and lints
	@$(CARGO) fmt --check
	@$(CARGO) clippy --release --all-targets -- -D warnings

install: ## copy what `make build` built, with its libraries, to PREFIX (/usr/local)
	@test -x $(RELEASE)/bertline || { echo "install: $(RELEASE)/bertline is not there; run \`make build\` first"; exit 1; }
	@install -d $(DESTDIR)$(PREFIX)/bin $(LIBRARY)/libtorch
	@install -m 755 $(RELEASE)/bertline $(RELEASE)/bertline-train $(DESTDIR)$(PREFIX)/bin/
	@rm -rf $(LIBRARY)/onnxruntime $(LIBRARY)/libtorch/lib
	@cp -R -P .native/onnxruntime $(LIBRARY)/onnxruntime
	@cp -R -P .native/libtorch/lib $(LIBRARY)/libtorch/lib
	@rm -rf $(LIBRARY)/onnxruntime-cuda
	@if [ -d .native/onnxruntime-cuda ]; then cp -R -P .native/onnxruntime-cuda $(LIBRARY)/onnxruntime-cuda; fi
	@rm -rf $(LIBRARY)/libtorch-cuda
	@if [ -d .native/libtorch-cuda ]; then cp -R -P .native/libtorch-cuda $(LIBRARY)/libtorch-cuda; fi
	@echo "install: bertline and bertline-train are in $(DESTDIR)$(PREFIX)/bin, their libraries in $(LIBRARY)"

clean: ## remove what was built and demo-out/; .native/ and the model cache stay
	@$(CARGO) clean
	@rm -rf demo-out
