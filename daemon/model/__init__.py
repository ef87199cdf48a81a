"""Windows to scores: loading a model directory, batching, backends.

`daemon.model.info` and `daemon.model.loading` read descriptions without torch; importing
`daemon.model.classifier` is cheap too, torch comes when a model is loaded.
"""
