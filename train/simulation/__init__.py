"""Test tracks with known events, run through the daemon's own stream."""
