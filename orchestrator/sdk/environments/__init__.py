"""Environments: a Python with what a snapshot's code needs, built by uv once for all runs of a machine."""
