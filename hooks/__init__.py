"""Code around rendering: the demo, the checks of pre-commit and CI, and the releases."""
