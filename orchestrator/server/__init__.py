"""`orchestrator server start`: one foreground process that starts, watches and stops the server's parts.

It loads no Django itself, so that it is small and quick: `preparation` runs as a child and says what it found.
"""
