"""Training of a model's verifier, which confirms or rejects its events."""
