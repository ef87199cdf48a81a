"""Description of a model, read from its directory without torch."""
