"""The benchmarks of nncore against every other library installed: `python -m bench --help`."""
