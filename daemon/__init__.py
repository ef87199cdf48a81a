"""intentd: classifies live speech into intents on the machine it is spoken to."""

__version__ = "0.1.0"
