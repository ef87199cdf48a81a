"""intentd as a systemd user service: the unit, its installation, and what systemd is told."""
