"""What `make bench` measures: the numbers that this project holds, each beside its bound.

`docs/reference/benchmarks.md` says how, and how to read the table.
"""
