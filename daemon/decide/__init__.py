"""Scores to intents: the rolling opinion and events. No threads, no clocks."""
