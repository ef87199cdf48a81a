"""What the user and other programs get: dashboard, plain lines, JSON lines."""
