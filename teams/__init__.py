"""Who may see and do what: users, teams, tokens."""
