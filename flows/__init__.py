"""What can run: flows, deployments, schedules, work queues."""
