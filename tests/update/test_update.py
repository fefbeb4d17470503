"""A project that follows the template: `copier update`, without trust."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_copie.plugin import Copie

from hooks.check_template import BACKEND, TEMPLATE
from tests.commands import COPIER, commit, git, run
from tests.rendering import RELEASE, data, files, release, render
from tests.variants import Answers

NEXT_RELEASE = "v0.0.1"
CHANGED = "CORS_ORIGINS={{ frontend_origin }}"
ANSWERS: Answers = {"project_name": "Shop", "cookie_samesite": "strict"}


@pytest.fixture
def template(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a clone of the template, as somebody who copies from it has one; or one untagged."""
    clone = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", release(), clone)
    if getattr(request, "param", None) == "untagged":
        git(clone, "tag", "--delete", RELEASE)
    return clone


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """Give a project that was rendered from the clone and committed."""
    project = tmp_path / "project"
    run([*COPIER, "copy", "--defaults", *data(ANSWERS), template, project], tmp_path)
    git(project, "init", "--quiet")
    commit(project, "Start from the template")
    return project


def publish(template: Path) -> None:
    """Change a setting, a module and the first migration of the template, and add a migration."""
    backend = template / TEMPLATE / BACKEND
    edit(backend / "env.example.jinja", CHANGED, f"# A line of the template.\n{CHANGED}")
    append(backend / "app/main.py", "# A line of the template.\n")
    append(backend / "alembic/versions/0001_initial.py", "# A line of the template.\n")
    (backend / "alembic/versions/0002_next.py").write_text("# A migration of the template.\n")
    tag = NEXT_RELEASE if git(template, "tag", "--list") else None
    commit(template, "Change", tag=tag)


def append(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def update(project: Path, *arguments: str) -> str:
    return run([*COPIER, "update", "--defaults", *arguments], project)


@pytest.mark.parametrize("template", ["tagged", "untagged"], indirect=True)
def test_update_merges_and_keeps_own_edits(template: Path, project: Path) -> None:
    append(project / "env.example", "MY_SETTING=1\n")
    (project / "app/mine.py").write_text("MINE = True\n")
    (project / "alembic/versions/0001_initial.py").unlink()
    (project / ".editorconfig").unlink()
    commit(project, "My work")
    publish(template)

    update(project)

    text = (project / "env.example").read_text(encoding="utf-8")
    assert "# A line of the template.\nCORS_ORIGINS=" in text
    assert text.endswith("MY_SETTING=1\n")
    assert (project / "app/mine.py").read_text(encoding="utf-8") == "MINE = True\n"
    assert not (project / ".editorconfig").exists()
    # Migrations belong to the project: an older one stays as it is, a new one would be a second
    # head.
    assert list((project / "alembic/versions").glob("*.py")) == []
    changed = {line[3:] for line in git(project, "status", "--porcelain").splitlines()}
    assert changed == {".copier-answers.yml", "app/main.py", "env.example"}
    assert not any(b"<<<<<<<" in content for content in files(project / "app").values())


def test_update_converges_to_a_fresh_render(template: Path, project: Path, copie: Copie) -> None:
    before = files(project)
    publish(template)

    update(project)

    fresh = files(render(copie, ANSWERS, template))
    for name in [name for name in fresh if name.startswith("alembic/versions/")]:
        # Edited or added in the template: never in a project that has begun.
        fresh.pop(name)
        if name in before:
            fresh[name] = before[name]
    assert files(project) == fresh


def test_update_to_the_same_release_changes_nothing(project: Path) -> None:
    update(project)
    assert git(project, "status", "--porcelain") == ""


def test_update_changes_an_answer(project: Path, rendered: Callable[[Answers], Path]) -> None:
    update(project, "--data=cookie_samesite=none", "--data=deploy_target=docker")
    fresh = rendered({**ANSWERS, "cookie_samesite": "none", "deploy_target": "docker"})
    expected, updated = files(fresh), files(project)
    del expected[".copier-answers.yml"], updated[".copier-answers.yml"]
    assert updated == expected
