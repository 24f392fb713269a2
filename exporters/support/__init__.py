"""What several formats use: archives, processes, metadata, calibration. One subject a file."""
