"""The commands of intentd, one module each; imported when they are run."""
