"""Passwords: the rules for new passwords, their verification and their change."""
