import re
from pathlib import Path

PAGE = Path("docs/operations.md")


def test_the_events_on_the_page_are_logged_somewhere() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {event for row in rows for event in re.findall(r"`(\w+)`", row)}
    assert len(named) > 5
    sources = (path.read_text(encoding="utf-8") for path in Path("app").rglob("*.py"))
    logged = set(re.findall(r"""["'](\w+)["']""", " ".join(sources)))
    assert named <= logged
