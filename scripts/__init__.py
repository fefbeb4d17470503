"""What maintainers, pre-commit and CI run: the demo, the template's own rules, and the releases."""
