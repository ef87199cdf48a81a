"""Teachers, and the targets they give a student."""
