"""What the smaller commands do: one function each, which only the command line calls."""
