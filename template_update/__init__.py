"""Update a project that was made from the template: `template-update`.

The command renders the project's version of the template and the new one, adapts both renders to
the project, and lets git merge the difference into a branch. `cli.py` is the entry point.
`update.py` contains the steps in order.
"""
