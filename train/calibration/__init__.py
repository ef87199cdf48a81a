"""Temperature and thresholds, chosen on data without the training part."""
