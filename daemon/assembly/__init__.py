"""Builds a run from settings: session, outputs, reload."""
