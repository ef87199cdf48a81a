"""Base of every part: errors, text, signals, logging, the program."""
