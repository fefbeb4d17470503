"""The layers in the diagrams of the READMEs match the imports."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

from scripts.check_template import BACKEND, ROOT, TEMPLATE
from tests.support.diagrams import Arrow, arrows, diagram

README = ROOT / "README.md"
APP = ROOT / TEMPLATE / BACKEND / "app"
IMPORT = re.compile(r"^ *(?:from|import) app(?:\.| import )(\w+)", re.MULTILINE)


def imports() -> set[Arrow]:
    """Return which folders of the application import which. `python -m app` belongs to `cli`."""
    found = set()
    for path in [*APP.rglob("*.py"), *APP.rglob("*.py.jinja")]:
        name = path.relative_to(APP).parts[0].partition(".")[0].replace("__main__", "cli")
        text = path.read_text(encoding="utf-8")
        found |= {(name, target) for target in IMPORT.findall(text) if target != name}
    return found


def test_readme_diagram_shows_the_imports_of_the_application() -> None:
    drawn = arrows(diagram(README, "flowchart"))
    assert drawn == imports()
    TopologicalSorter({name: {to for it, to in drawn if it == name} for name, _ in drawn}).prepare()


def test_generated_readme_has_the_same_diagram() -> None:
    generated: Path = ROOT / TEMPLATE / BACKEND / "README.md.jinja"
    assert diagram(generated, "flowchart") == diagram(README, "flowchart")
