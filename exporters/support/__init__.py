"""Code that several formats use: archives, processes, metadata, calibration. Each file has one subject."""
