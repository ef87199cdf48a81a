"""Health of a running daemon: a snapshot, its problems, a local socket."""
