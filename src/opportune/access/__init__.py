"""Who may do what, and who did: scopes and roles, keys that end, people who sign in, the audit log."""
