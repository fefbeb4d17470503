"""Passwords: the rules for new ones, the verification of a user's, and its change."""
