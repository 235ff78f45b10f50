"""The command line, and the networks that benchmarks compare nncore with. Private."""
