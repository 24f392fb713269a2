"""The command line of `rvm-export`: its options, and the function that each command calls.

A command imports its code only when it runs.
"""
