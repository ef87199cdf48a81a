"""Output that Prometheus scrapes."""
