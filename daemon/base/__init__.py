"""The base of every part: errors, text, signals, standard error, the program."""
