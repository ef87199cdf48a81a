"""Output that runs commands when intents are spoken."""
