"""Answers: invalid ones are rejected before anything is rendered."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from copier.errors import UnsafeTemplateError
from pytest_copie.plugin import Copie

from tests.support.commands import COPIER, run
from tests.support.rendering import data, release, render
from tests.support.variants import Answers


@pytest.mark.parametrize(
    ("name", "answer", "advice"),
    [
        ("project_name", "", "Type a name"),
        ("project_name", "  ", "Type a name"),
        ("project_name", " Shop", "Remove the spaces around it"),
        ("project_name", "x" * 61, "Type at most 60 characters"),
        ("project_name", "two\nlines", "Remove the control characters"),
        ("project_name", "right\u202eleft", "Remove the control characters"),
        ("project_slug", "Shop", "Use only a-z, 0-9 and hyphens"),
        ("project_slug", "1shop", "Begin with a letter"),
        ("project_slug", "shop-", "End with a letter or a digit"),
        ("project_slug", "my_shop", "Use only a-z, 0-9 and hyphens"),
        ("project_slug", "ab", "Type 3 to 40 characters"),
        ("project_slug", "a" * 41, "Type 3 to 40 characters"),
        ("project_slug", "shop\n", "Use only a-z, 0-9 and hyphens"),
        ("project_slug", "../shop", "Use only a-z, 0-9 and hyphens"),
        ("project_description", "x" * 201, "Use at most 200 characters"),
        ("project_description", "tab\there", "Remove control characters"),
        ("package_manager", "npm", "'npm' is not in ['uv'"),
        ("python_version", "3.10", "'3.10' is not in ['3.11'"),
        ("frontend_origin", "localhost:5173", "Type it as https://example.com"),
        ("frontend_origin", "http://localhost:5173/", "Leave out the path"),
        ("frontend_origin", "http://Localhost", "Use lower case only"),
        ("frontend_origin", 'http://x"', "Type it as https://example.com"),
        ("frontend_origin", "*", "Type it as https://example.com"),
        ("cookie_samesite", "Lax", "'Lax' is not in ['lax'"),
        ("deploy_target", "moon", "'moon' is not in ['railway'"),
    ],
)
def test_invalid_answer_is_rejected(tmp_path: Path, name: str, answer: str, advice: str) -> None:
    output = run(
        [*COPIER, "copy", "--defaults", *data({name: answer}), release(), tmp_path / "new"],
        tmp_path,
        exit_code=1,
    )
    last = output.splitlines()[-1]
    assert name in last
    assert advice in last
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Backend", "my-backend"),
        ("Über-Shop 2", "ber-shop-2"),
        ("3D!", "my-backend"),
        ("日本", "my-backend"),
        ("X", "my-backend"),
        ("a" * 39 + " b", "a" * 39),
        ("a" * 60, "a" * 40),
    ],
)
def test_slug_is_derived_from_any_name(
    rendered: Callable[[Answers], Path], name: str, slug: str
) -> None:
    project = rendered({"project_name": name})
    text = (project / ".copier-answers.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["project_slug"] == slug


def test_copier_settings_of_the_developer_are_ignored(
    rendered: Callable[[Answers], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copier").mkdir()
    (tmp_path / "copier/settings.yml").write_text("defaults: {project_slug: mine}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    answers = (rendered({}) / ".copier-answers.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(answers)["project_slug"] == "my-backend"


def test_wrapped_pytest_copie_raises_for_a_misspelled_answer(copie: Copie) -> None:
    with pytest.raises(AssertionError, match="project_nam"):
        render(copie, {"project_nam": "Shop"})


def test_wrapped_pytest_copie_raises_for_an_invalid_answer(copie: Copie) -> None:
    with pytest.raises(ValueError, match="Invalid choice"):
        render(copie, {"python_version": "2.7"})


def test_wrapped_pytest_copie_does_not_trust_the_template(copie: Copie, tmp_path: Path) -> None:
    (tmp_path / "template").mkdir()
    (tmp_path / "copier.yml").write_text("_subdirectory: template\n_tasks: ['true']\n")
    with pytest.raises(UnsafeTemplateError):
        render(copie, {}, tmp_path)
