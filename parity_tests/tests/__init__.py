"""Tests of the harness, and the parity matrix."""
