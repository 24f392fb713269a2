"""Recover weights from graphs: read a graph as a dataflow, and match its convolutions to the network's."""
