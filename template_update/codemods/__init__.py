"""Renaming names in Python code, by what they mean and not by how they are spelled."""
