"""Commands of intentd-train beside training: evaluate, cross-validate, mine."""
