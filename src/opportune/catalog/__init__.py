"""4 What we can show: items with dense numbers, availability, categories, and text search over them."""
