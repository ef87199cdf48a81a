"""One stream: from chunks of sound to messages, and its sample accounting."""
