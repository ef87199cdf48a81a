# intentd in a container, listening to the host's PulseAudio or PipeWire:
#
#   docker build -t intentd .
#   docker run --user "$(id -u)" -v "$XDG_RUNTIME_DIR/pulse:/run/pulse:ro" intentd
#
# or replaying a recording without any sound server:
#
#   docker run --rm -v "$PWD:/data:ro" intentd replay /data/meeting.wav --headless

FROM python:3.13-slim-trixie AS build
WORKDIR /src
RUN python -m venv /opt/intentd
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
COPY train train
# The CPU build of PyTorch: the one from PyPI brings several GB of CUDA.
RUN /opt/intentd/bin/pip install --no-cache-dir \
        --extra-index-url https://download.pytorch.org/whl/cpu '.[openvino]'

FROM python:3.13-slim-trixie
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libasound2-plugins libportaudio2 libpulse0 \
    && rm -rf /var/lib/apt/lists/* \
    && printf 'pcm.!default { type pulse }\nctl.!default { type pulse }\n' > /etc/asound.conf \
    && useradd --create-home intentd \
    && install --directory --mode 1777 /run/intentd /var/cache/intentd
COPY --from=build /opt/intentd /opt/intentd
ENV PATH=/opt/intentd/bin:$PATH \
    PULSE_SERVER=unix:/run/pulse/native \
    XDG_CACHE_HOME=/var/cache/intentd \
    XDG_RUNTIME_DIR=/run/intentd
USER intentd
WORKDIR /data
# Healthy once sound from the microphone is processed; a missing microphone is unhealthy, not an exit.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["intentd", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["intentd"]
CMD ["live", "--headless", "--wait-for-device"]
