"""Windows to scores: loading a model directory, batching, backends.

`daemon.model.description` is read without torch; importing `daemon.model.classifier` is cheap too,
torch comes when a model is loaded.
"""
