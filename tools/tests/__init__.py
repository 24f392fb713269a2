"""Tests of the commands and scripts."""
