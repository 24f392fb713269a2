"""Weights: read from files, downloaded, or seeded; always checked whole before they are used."""
