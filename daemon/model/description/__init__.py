"""What a model directory says, read without torch."""
