"""How records are keyed: one letter for what they are, then their name."""

from __future__ import annotations

LEAF = "p/"
"""``p/user_id:u1``: the leaf of an identifier."""
ITEM = "i/"
"""``i/22423``: the features of an item."""
SESSION = "s/"
"""``s/<leaf>|<session id>``: the features of a session."""
CATALOG = "c/"
"""``c/22423``: an item's attributes."""
OUTCOMES = "d/"
"""``d/<decision id>``: what happened after a decision."""
