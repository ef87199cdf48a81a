"""Outputs of a run: dashboard, plain lines, JSON lines."""
