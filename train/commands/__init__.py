"""Commands of intentd-train other than training."""
