"""Taking a snapshot of a project's folder and bringing it to the server: what `orchestrator deploy` does first."""
