"""A run: the worker thread, its inputs, and the engine that owns them."""
