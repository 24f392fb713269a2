"""Run CoreML files with torch on the CPU, from the file alone, on a machine without CoreML."""
