"""Clients that send their sound over the network: the Wyoming protocol, as streams of a run."""
