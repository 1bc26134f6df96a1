"""The REST API of runs, deployments and schedules."""
