"""A developer's machine in Chromium: plain HTTP on localhost with the settings of `env.example`."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from scripts.projects import project_environment, python_of
from scripts.screenshot import call
from tests.real.app import (
    LINK_REQUESTED,
    NOT_KEPT,
    SIGNED_OUT,
    says,
    sees,
    send_form,
    sign_in,
    submit,
)
from tests.real.chromium import chromium
from tests.real.frontend import PAGE, blocks, vite
from tests.support.commands import run
from tests.support.production import EMAIL, LOGIN, ME, PASSWORD
from tests.support.servers import Server, free_port, started, wait_until
from tests.support.variants import Answers

FRONTEND_PORT = 5173
FRONTEND = f"http://localhost:{FRONTEND_PORT}/"
PROJECTS = ("Shop", "Blog")


@pytest.fixture(scope="module")
def servers(
    installed: Callable[[Answers], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Server]]:
    """Return the servers of two projects of the template, which `make dev` runs."""
    folder = tmp_path_factory.mktemp("local")
    servers = {}
    with ExitStack() as stack:
        for name in PROJECTS:
            project = installed({"project_name": name})
            environment = project_environment(PORT=str(free_port()))
            log = folder / f"{name}.log"
            server = stack.enter_context(started(["make", "dev"], project, environment, log))
            server.wait_until_ready()
            app = [str(python_of(project)), "-m", "app"]
            create = [*app, "create-user", EMAIL, "--password-stdin"]
            run(create, project, environment, text=PASSWORD)
            servers[name] = server
        yield servers


@pytest.fixture(scope="module")
def frontend_server(frontend: Path, project: Path, servers: Mapping[str, Server]) -> Iterator[None]:
    """Run the app in Vite, which forwards /api to the first project as the page describes."""
    (config,) = [block for block in blocks(project, "ts") if "defineConfig" in block]
    assert ":8000" in config
    config = config.replace(":8000", f":{servers['Shop'].port}")
    (frontend / "vite.config.ts").write_text(config, encoding="utf-8")
    with vite(frontend, FRONTEND_PORT):
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as (_, browser):
        yield browser


@pytest.fixture
def person(browser: Browser) -> Iterator[BrowserContext]:
    """Return a new browser without cookies. Its tabs share cookies."""
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    yield context
    context.close()


def app(port: int, host: str = "localhost") -> str:
    """Return the URL of the app with a backend."""
    return f"{FRONTEND}?backend=http://{host}:{port}"


def names(person: BrowserContext) -> set[str]:
    """Return the names of the cookies that the browser keeps."""
    return {it["name"] for it in person.cookies()}


@pytest.mark.usefixtures("frontend_server")
def test_two_projects_on_localhost_keep_separate_sessions(
    person: BrowserContext, servers: Mapping[str, Server]
) -> None:
    shop, blog = [sign_in(person.new_page(), app(servers[name].port)) for name in PROJECTS]
    assert names(person) == {
        f"{project}-{kind}"
        for project in ("shop", "blog")
        for kind in ("access", "refresh", "device")
    }
    assert shop.evaluate("document.cookie") == ""

    for name in PROJECTS:  # as if they had expired
        person.clear_cookies(name=f"{name.lower()}-access")
    for tab in (shop, blog):
        tab.reload()
        sees(tab, EMAIL)

    shop.click("text=Sign out")
    sees(shop, SIGNED_OUT)
    assert names(person) == {"shop-device", "blog-access", "blog-refresh", "blog-device"}
    blog.reload()
    sees(blog, EMAIL)


@pytest.mark.usefixtures("frontend_server")
def test_signing_in_works_through_the_proxy_of_vite(person: BrowserContext) -> None:
    page = sign_in(person.new_page(), FRONTEND)
    page.reload()
    sees(page, EMAIL)
    person.clear_cookies(name="shop-access")
    page.reload()
    sees(page, EMAIL)


@pytest.mark.usefixtures("frontend_server")
def test_link_in_the_message_that_make_dev_prints_sets_a_password(
    person: BrowserContext, servers: Mapping[str, Server]
) -> None:
    page = person.new_page()
    page.goto(f"{FRONTEND}reset")
    send_form(page, "request-link", email=EMAIL)
    says(page, LINK_REQUESTED)
    output = servers["Shop"].output
    link = re.compile(rf"^ *({FRONTEND}reset#token=\S+)$", re.MULTILINE)
    wait_until(lambda: bool(link.search(output())), output)

    page.goto(link.findall(output())[0])
    send_form(page, "set-password", password=PASSWORD)
    says(page, f"You are signed in as {EMAIL}.")


@pytest.mark.usefixtures("frontend_server")
def test_127_0_0_1_is_another_site_than_localhost(
    person: BrowserContext, servers: Mapping[str, Server]
) -> None:
    page = person.new_page()
    page.goto(app(servers["Shop"].port, "127.0.0.1"))
    sees(page, SIGNED_OUT)
    submit(page)
    sees(page, NOT_KEPT)


def test_user_can_sign_in_and_send_requests_on_the_docs_page(
    person: BrowserContext, servers: Mapping[str, Server], tmp_path: Path
) -> None:
    page = person.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("console", lambda it: failed.append(it.text) if it.type == "error" else None)
    page.goto(f"http://localhost:{servers['Shop'].port}/docs")

    expect(call(page, "POST", LOGIN, username=EMAIL, password=PASSWORD)).to_contain_text("200")
    expect(call(page, "GET", ME)).to_contain_text(EMAIL)

    page.screenshot(path=tmp_path / "docs.png", full_page=True)
    assert {urlsplit(url).netloc for url in requested if not url.startswith("data:")} == {
        f"localhost:{servers['Shop'].port}"
    }
    assert failed == []


def test_documented_script_signs_in_with_a_cookie_jar(
    project: Path, servers: Mapping[str, Server]
) -> None:
    (script,) = blocks(project, "python")
    for shown, here in {
        "localhost:8000": f"localhost:{servers['Shop'].port}",
        "you@example.com": EMAIL,
        "your passphrase": PASSWORD,
    }.items():
        assert shown in script, f"{PAGE} has changed"
        script = script.replace(shown, here)
    output = run([python_of(project), "-c", script], project, project_environment())
    assert output.strip() == EMAIL
