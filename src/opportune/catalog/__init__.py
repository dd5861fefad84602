"""4 What we can show: items, their attributes and availability, content similarity, search."""
