"""intentd-train: makes the models that intentd runs."""
