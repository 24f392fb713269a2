"""Run CoreML files with torch on the CPU, from what is on disk alone, on a machine without CoreML."""
