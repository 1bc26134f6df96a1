"""`orchestrator server start`: one foreground process that starts, watches and stops the server's parts."""
