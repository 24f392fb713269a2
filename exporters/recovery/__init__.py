"""Weights taken out of graphs: a graph as a dataflow, and its convolutions matched with the network's."""
