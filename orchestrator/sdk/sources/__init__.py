"""Sources: where a run's code is, and how it comes to the process that runs it. One file a kind (`kinds`)."""
