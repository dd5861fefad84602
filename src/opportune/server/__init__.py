"""The HTTP face: one ASGI application over the engine's two verbs and its read-only queries."""
