"""The demo: a shop with real products, its history, and visitors."""
