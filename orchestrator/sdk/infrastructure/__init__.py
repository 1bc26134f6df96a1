"""Where an attempt executes: one file a kind, one line each in `kinds`."""
