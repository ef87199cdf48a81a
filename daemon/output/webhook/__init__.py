"""Output that posts events to a URL."""
