"""The verifier: a second, larger network that confirms or rejects events that are about to fire."""
