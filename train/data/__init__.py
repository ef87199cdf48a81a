"""Recordings for training: sources, clips, the split, synthetic speech."""
