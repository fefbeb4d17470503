"""The report of an update: Markdown that is also readable in a terminal."""

from dataclasses import dataclass, field
from typing import Any

from template_update.merging import Merged
from template_update.names import MissingName


@dataclass
class Report:
    """The contents of the report, in the order in which they are printed."""

    before: str
    after: str
    upgrading: dict[str, str] = field(default_factory=dict)
    questions: dict[str, tuple[str, Any]] = field(default_factory=dict)
    changed_answers: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    renamed_names: list[str] = field(default_factory=list)
    merged: Merged = field(default_factory=Merged)
    needs_migration: bool = False
    missing: list[MissingName] = field(default_factory=list)
    members: list[MissingName] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the report."""
        parts = [f"# Update of the template from {self.before} to {self.after}"]
        parts += [
            f"## Upgrading to {version}\n\n{text}" for version, text in self.upgrading.items()
        ]
        parts += [
            _section(
                "New questions",
                "The update uses the default. For another answer, use `--data NAME=ANSWER`.",
                [
                    f"`{name}`: `{answer}` ({text})"
                    for name, (text, answer) in self.questions.items()
                ],
            ),
            _section(
                "Changed answers",
                "",
                [
                    f"`{name}`: `{old}` becomes `{new}`"
                    for name, (old, new) in self.changed_answers.items()
                ],
            ),
            _section(
                "Conflicts",
                "You and the template changed the same lines. Both versions will be in the file.",
                [f"`{name}`" for name in self.merged.conflicts],
            ),
            _section(
                "Names that no longer exist",
                "Your code uses these names. The *Upgrading* texts say what replaces them.",
                [f"`{missing}`" for missing in self.missing],
            ),
            _section(
                "Members that no longer exist",
                "Your code may use these. An attribute does not show the class of its object.",
                [f"`{missing}`" for missing in self.members],
            ),
            _section("Names that the update renames in your code", "", self.renamed_names),
            _section(
                "Files that you deleted and the template changed",
                "They stay deleted.",
                [f"`{name}`" for name in self.merged.kept_deleted],
            ),
            _section(
                "Files that the template deleted and you changed",
                "They stay. Delete them if you no longer need them.",
                [f"`{name}`" for name in self.merged.kept_changed],
            ),
            _section(
                "Files that you already had and the template adds",
                "They keep your content.",
                [f"`{name}`" for name in self.merged.kept_own],
            ),
            _section(
                "Pages that you rewrote and the template changed",
                "They keep your text.",
                [f"`{name}`" for name in self.merged.kept_rewritten],
            ),
            _section(
                "Files that you moved and the template changed",
                "The change is applied to the file in its new place.",
                [f"`{old}` to `{new}`" for old, new in self.moved.items()],
            ),
            _section(
                "Additions at the same place",
                "You and the template added lines at the same place. Both are kept: review them.",
                [f"`{name}`" for name in self.merged.combined],
            ),
        ]
        if self.needs_migration:
            parts.append(
                "## Migration\n\nThe template's models have changed. After the update, write a "
                'migration: `make migration m="what the Upgrading texts say"`.'
            )
        if self.files:
            parts.append("## Files that change\n\n```text\n" + "\n".join(self.files) + "\n```")
        return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, explanation: str, lines: list[str]) -> str:
    if not lines:
        return ""
    items = "\n".join(f"- {line}" for line in lines)
    return "\n\n".join(part for part in (f"## {title}", explanation, items) if part)
