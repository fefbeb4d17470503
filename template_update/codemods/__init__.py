"""Renaming names in Python code, based on what they refer to and not on their spelling."""
