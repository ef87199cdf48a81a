"""intentd-train: makes the models that intentd runs."""

import daemon  # noqa: F401 - before any library that reports on its use
