"""Real parts for the scaled-out engine, on loopback, with their own ports and data folders."""
