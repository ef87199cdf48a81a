"""Recordings, decoded block by block and fed to rings at a pace."""
