"""Tests of the network, the weights and the video."""
