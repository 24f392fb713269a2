# What people run. `make` alone says what there is.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/pip install --quiet --no-compile --disable-pip-version-check
NODE := exporters/onnx/web/node_modules/.ready exporters/tfjs/web/node_modules/.ready
EXAMPLES := docs/examples/node_modules/.ready
TRAINED := $(or $(WEIGHTS),$(or $(RVM_SHARED),../shared)/weights/rvm_mobilenetv3_from_tfjs.safetensors)
GIVEN := $(if $(WEIGHTS),RVM_WEIGHTS=$(WEIGHTS)) $(if $(CLIP),RVM_CLIP=$(CLIP))
SIZES := --resolution 1920x1080 --downsample-ratio 0.25 --resolution 1280x720 --downsample-ratio 0.375
# Three processes for two cores, since tests also wait: for browsers, and for processes that they start.
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 3 --dist loadfile --durations 60 --durations-min 8
BOTH := --precision fp32 --precision int8

.DEFAULT_GOAL := help
.PHONY: help export release test test-long predict check docs npm soak speed cuda picture lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

export: $(READY) ## Set up, then make and verify a small release in dist/: MobileNetV3 in every format
	$(BIN)/rvm-export release --light --checkpoint auto --output dist

release: $(READY) ## Make the whole release in OUT=dist/release of CHECKPOINTS="mobilenetv3=PATH resnet50=PATH", VERSION=V, SIGN=KEY
	$(BIN)/rvm-export release $(addprefix --checkpoint ,$(CHECKPOINTS)) --output $(or $(OUT),dist/release) \
		$(if $(VERSION),--version $(VERSION)) $(if $(SIGN),--sign $(SIGN))

test: $(READY) $(EXAMPLES) ## Set up, then run all tests but the long ones
	$(TEST) -m "not long"

test-long: $(READY) $(EXAMPLES) ## Run the tests that `make test` leaves out
	$(TEST) -m "long and not soak"

predict: $(READY) ## On a Mac: play CoreML files in CoreML itself, against PyTorch
	RVM_REQUIRE=macos $(BIN)/pytest parity_tests/tests/test_coreml.py -k coreml_itself

check: $(READY) ## Lint, types, the import contract, prose, CI's workflows, the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/prose.py
	$(BIN)/zizmor --offline --quiet .github/workflows action.yml
	$(BIN)/hadolint Dockerfile

docs: $(READY) ## Write the page of commands, then build the site of docs/ in dist/site
	$(BIN)/python docs/cli_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

npm: ## Make the npm package of rvm.js in OUT=dist/npm
	mkdir -p $(or $(OUT),dist/npm)
	cp exporters/tfjs/rvm.js exporters/support/web/full_size*.js exporters/tfjs/npm/* LICENSE $(or $(OUT),dist/npm)
	cd $(or $(OUT),dist/npm) && npm pack --silent --offline

soak: test-long ## Run all tests that are left out elsewhere, measure parity with WEIGHTS=PATH CLIP=PATH, kill releases, spoil files
	$(TEST) -m soak
	$(GIVEN) $(BIN)/python -m tools.measure.mutants
	$(GIVEN) $(BIN)/python -m tools.measure.random_exports
	$(GIVEN) $(BIN)/python -m tools.measure.long_plays
	$(GIVEN) $(BIN)/python -m tools.measure.options
	$(BIN)/python -m tools.measure.recover_soak
	$(BIN)/python -m tools.tests.reliability

speed: $(READY) ## Time ONNX files and matting with WEIGHTS=PATH CLIP=PATH on a quiet machine
	$(BIN)/rvm-export onnx --checkpoint $(TRAINED) --output dist/speed --force $(BOTH)
	$(BIN)/rvm-export onnx --checkpoint $(TRAINED) --output dist/speed --force $(BOTH) --profile ort
	$(BIN)/rvm-export onnx --checkpoint $(TRAINED) --output dist/speed --force $(BOTH) $(SIZES)
	$(BIN)/rvm-export onnx --checkpoint $(TRAINED) --output dist/speed --force $(BOTH) $(SIZES) --profile ort
	$(BIN)/rvm-export bench dist/speed/*fp32.onnx --checkpoint $(TRAINED) $(SIZES) --threads 1 --threads 4 --rounds 30 \
		--csv tools/measure/results/onnx_speed_cpu.csv
	$(BIN)/rvm-export bench dist/speed/*int8.onnx dist/speed/*0x*banded*fp32.onnx --checkpoint $(TRAINED) $(SIZES) \
		--threads 1 --threads 4 --rounds 30 --csv tools/measure/results/onnx_int8_cpu.csv
	$(GIVEN) $(BIN)/python -m tools.measure.int8_alpha
	$(BIN)/rvm-export bench --export --csv tools/measure/results/export_speed_cpu.csv
	$(GIVEN) $(BIN)/python -m tools.measure.matte_speed
	$(GIVEN) $(BIN)/python -m tools.measure.full_size_speed

cuda: $(READY) ## Measure all that runs on CUDA with WEIGHTS=PATH, on a machine with a GPU
	$(BIN)/python -m tools.measure.cuda --out dist/cuda $(if $(WEIGHTS),--checkpoint $(WEIGHTS))

picture: $(READY) ## Draw the README's picture from the real clip (needs ../shared)
	$(BIN)/python -m tools.measure.readme_pictures

lock: $(READY) ## Write requirements.lock from what is installed
	$(BIN)/pip freeze --all --exclude-editable | sed 's/+cpu$$//' > requirements.lock

clean: ## Remove the environment and everything made
	rm -rf .venv $(dir $(NODE) $(EXAMPLES)) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(READY): $(NODE) .venv/.installed
	@touch $@

# pip compiles one file after the other, compileall as many at a time as there are cores.
.venv/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
		|| { echo "Python 3.11 or 3.12 is needed, $$($(PYTHON) --version) is here; try: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=requirements.lock $(PIP) --upgrade pip
	PIP_CONSTRAINT=requirements.lock $(PIP) --editable '.[torchscript,pt2,onnx,onnx-simplify,openvino,tensorflow,tfjs,coreml,executorch,litert,ncnn,fused,cluster,release,docs,dev]'
	PIP_CONSTRAINT=requirements.lock $(PIP) --no-deps tensorflowjs executorch
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

# Those of the examples, which only the tests run, are 300 MB.
%/node_modules/.ready: %/package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null \
		|| { echo "Node 20 or newer is needed, with npm, to run ONNX and TensorFlow.js files as browsers do; install it and run make again"; exit 2; }
	npm ci --prefix $* --ignore-scripts --loglevel=error --no-audit --no-fund >/dev/null
	@touch $@
