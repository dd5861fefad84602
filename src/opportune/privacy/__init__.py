"""Whose data it is: entries sealed with a key per person, erasure, receipts, retention."""
