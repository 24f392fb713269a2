"""What people run. It imports everything and is imported by nothing."""
