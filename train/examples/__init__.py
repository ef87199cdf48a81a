"""Training examples: windows of words, bags of utterances, soft targets."""
