"""Tests of what people run."""
