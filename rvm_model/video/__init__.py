"""Frames: read from files, drawn, and written, with their colours, sound and timestamps."""
