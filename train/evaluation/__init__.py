"""Accuracy of windows, recordings and events."""
