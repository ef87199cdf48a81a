"""systemd user service: the unit, its installation, and sd_notify."""
