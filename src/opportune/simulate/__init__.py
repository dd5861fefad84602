"""Shoppers whose truth is known: who they are, what they like, what would have changed their mind."""
