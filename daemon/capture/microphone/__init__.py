"""Live input through PortAudio, with recovery after an outage."""
