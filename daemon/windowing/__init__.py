"""Samples to windows: resampling, windows, and the speech gate. No threads, no clocks."""
