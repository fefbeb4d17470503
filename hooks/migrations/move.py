"""Merge the project's changes into the files that the template has moved.

Because of an entry in `copier.yml`, Copier runs this script in the project at the end of an update:
`python move.py OLD NEW OLD NEW …`. All paths are those of a generated project. Without the script,
Copier would delete OLD with the changes of the project, and write NEW as the template has it. If
the template has removed a file, NEW equals OLD, and the file stays if the project has changed it.

The usual alternative, a `git mv` before the update, turns every change of the project and of the
template into a conflict, because Copier then has no base for the merge. This script lets git merge
three files: OLD as the template rendered it, OLD as it is in the project, and NEW.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml
from copier import Settings, run_copy

ANSWERS: Final = ".copier-answers.yml"
LABELS: Final = ("before updating", "last update", "after updating")


def main(project: Path, paths: Sequence[str]) -> None:
    """Move files, given as pairs of an old and a new path. A second run changes nothing.

    Raise `subprocess.CalledProcessError` if git fails.
    """
    with TemporaryDirectory() as folder:
        last = _render_last(project, Path(folder, "last"))
        for old, new in zip(paths[::2], paths[1::2], strict=True):
            if old == new:
                keep(project, last, old)
            else:
                move(project, last, old, new)


def move(project: Path, last: Path, old: str, new: str) -> None:
    """Merge the project's changes of `old` into `new`. last: a render of its last version."""
    target = project / new
    if _committed(project, new) is not None or not target.exists():
        return  # moved by an earlier update, or not part of this project
    mine = _committed(project, old)
    if not (last / old).exists() or mine == (last / old).read_bytes():
        return
    if mine is None:  # the project has deleted the file, so it stays deleted
        target.unlink()
        return
    with TemporaryDirectory() as folder:
        own = Path(folder, "own")
        own.write_bytes(mine)
        _merge(own, last / old, target)


def keep(project: Path, last: Path, old: str) -> None:
    """Restore `old`, which the update has deleted, if the project had changed it."""
    mine = _committed(project, old)
    if mine is None or not (last / old).exists() or mine == (last / old).read_bytes():
        return
    (project / old).parent.mkdir(parents=True, exist_ok=True)
    (project / old).write_bytes(mine)
    print(f"Kept {old}, which the template has removed, because you changed it.", file=sys.stderr)


def _merge(own: Path, last: Path, target: Path) -> None:
    """Merge the changes between `last` and `own` into `target`."""
    before, base, after = LABELS
    if f"<<<<<<< {before}".encode() in target.read_bytes():
        return
    command = ["git", "merge-file", "-p", "-L", before, "-L", base, "-L", after]
    merged = subprocess.run([*command, own, last, target], stdout=subprocess.PIPE)
    if merged.returncode > 127:  # below that, it is the number of conflicts
        raise subprocess.CalledProcessError(merged.returncode, command)
    target.write_bytes(merged.stdout)
    if merged.returncode:
        print(f"Conflicts in the moved file {target}: git does not list them.", file=sys.stderr)


def _committed(project: Path, path: str) -> bytes | None:
    """Return a file as it was before the update. Copier only updates committed projects."""
    found = subprocess.run(
        ["git", "show", f"HEAD:./{path}"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return None if found.returncode else found.stdout


def _render_last(project: Path, folder: Path) -> Path:
    """Render the project's last version of the template, with its answers at that time."""
    answers = yaml.safe_load(_committed(project, ANSWERS) or b"")
    run_copy(
        answers["_src_path"],
        folder,
        {name: answer for name, answer in answers.items() if name[0] != "_"},
        vcs_ref=answers["_commit"],
        settings=Settings(),
        defaults=True,
        quiet=True,
    )
    return folder


if __name__ == "__main__":
    main(Path.cwd(), sys.argv[1:])
