"""What runs around rendering: the demo, and what pre-commit and CI check."""
