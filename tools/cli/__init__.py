"""`rvm-export`: options, and which function does what is asked. What it needs is imported when it is asked for."""
