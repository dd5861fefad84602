"""What a text is after: searches and chat lines as intents, from a few examples of each."""
