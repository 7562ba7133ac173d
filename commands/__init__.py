"""The verbs of the command line: one file and one typed function each, named in ``cli.py``."""
