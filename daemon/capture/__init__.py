"""Sound in: the source protocol, the microphone, recordings, and the ring between threads."""
