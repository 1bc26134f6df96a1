"""Snapshots of a project's folder: what they are made of, how they travel, and where a worker keeps them."""
