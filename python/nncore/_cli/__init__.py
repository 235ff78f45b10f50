"""The command line, and what it compares with. None of this is public."""
