"""Take what a project changed in a file along to where the template has moved that file.

Copier runs it, by a line in `copier.yml`, in the project, after everything else of an update:
`python move.py OLD NEW OLD NEW …`, all paths as in a generated project. Copier by itself would
delete OLD with all that the project had changed in it, and write NEW as it comes from the template.
For a file that the template has removed, NEW is OLD: it stays if the project had changed it.

A `git mv` before the update, as others do it, makes each change of the project a conflict, and each
of the template's too: Copier then has nothing to merge from. Here git merges three files: OLD as it
was rendered, OLD as the project has it, and NEW.
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
    """Move files, given as pairs of an old and a new path. To do it twice changes nothing more.

    Raise `subprocess.CalledProcessError` when git fails.
    """
    with TemporaryDirectory() as folder:
        last = _render_last(project, Path(folder, "last"))
        for old, new in zip(paths[::2], paths[1::2], strict=True):
            if old == new:
                keep(project, last, old)
            else:
                move(project, last, old, new)


def move(project: Path, last: Path, old: str, new: str) -> None:
    """Merge a project's changes of `old` into `new`. last: the version that it comes from."""
    target = project / new
    if _committed(project, new) is not None or not target.exists():
        return  # moved at an earlier update, or not part of this project
    mine = _committed(project, old)
    if not (last / old).exists() or mine == (last / old).read_bytes():
        return
    if mine is None:  # the project had deleted it, and deleted it stays
        target.unlink()
        return
    with TemporaryDirectory() as folder:
        own = Path(folder, "own")
        own.write_bytes(mine)
        _merge(own, last / old, target)


def keep(project: Path, last: Path, old: str) -> None:
    """Put `old` back if the project had changed it, because the update has deleted it."""
    mine = _committed(project, old)
    if mine is None or not (last / old).exists() or mine == (last / old).read_bytes():
        return
    (project / old).parent.mkdir(parents=True, exist_ok=True)
    (project / old).write_bytes(mine)
    print(f"Kept {old}, which the template has removed, because you changed it.", file=sys.stderr)


def _merge(own: Path, last: Path, target: Path) -> None:
    """Merge into `target` what was changed between `last` and `own`."""
    before, base, after = LABELS
    if f"<<<<<<< {before}".encode() in target.read_bytes():
        return
    command = ["git", "merge-file", "-p", "-L", before, "-L", base, "-L", after]
    merged = subprocess.run([*command, own, last, target], stdout=subprocess.PIPE)
    if merged.returncode > 127:  # below that, it is the number of conflicts
        raise subprocess.CalledProcessError(merged.returncode, command)
    target.write_bytes(merged.stdout)
    if merged.returncode:
        print(f"Conflicts in {target}, which has moved: git does not list them.", file=sys.stderr)


def _committed(project: Path, path: str) -> bytes | None:
    """Return a file as it was before the update; Copier updates nothing that is not committed."""
    found = subprocess.run(
        ["git", "show", f"HEAD:./{path}"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return None if found.returncode else found.stdout


def _render_last(project: Path, folder: Path) -> Path:
    """Render the version that the project comes from, with its answers of then."""
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
