"""Audio input: the microphone, recordings, and the ring between threads."""
