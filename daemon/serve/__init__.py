"""Network clients' sound as streams: Wyoming protocol, browsers."""
