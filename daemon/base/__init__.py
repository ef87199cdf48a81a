"""What every part builds on: errors, text, signals, standard error, the program."""
