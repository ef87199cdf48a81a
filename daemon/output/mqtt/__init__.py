"""Output that publishes events and state to an MQTT broker."""
