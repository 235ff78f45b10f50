"""Benchmarks of nncore against every installed peer library: `python -m bench --help`."""
