"""Windows to scores: loading a model directory, batching, backends."""
