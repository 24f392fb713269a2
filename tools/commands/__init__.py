"""The smaller commands: one function each, called only by the command line."""
