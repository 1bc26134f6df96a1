"""Pages of people: teams, tokens, the audit log, shares."""
