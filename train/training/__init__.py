"""Training loops: pretraining, finetuning, the initial model."""
