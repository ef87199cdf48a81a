"""How a running daemon is: a snapshot, what is wrong with it, and a local socket that tells."""
