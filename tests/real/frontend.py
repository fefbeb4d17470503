"""The browser app of docs/frontend.md: what the page says to copy, with a form around it."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from hooks.projects import project_environment, python_of
from tests.commands import run
from tests.servers import can_connect, wait_until
from tests.tools import PATH, require

PAGE: Final = "docs/frontend.md"
START_SECONDS: Final = 30
# The newest of each: it is what a frontend that begins today gets.
PACKAGES: Final = ("vite", "typescript", "openapi-fetch")

INDEX: Final = """<!doctype html>
<title>Shop</title>
<form>
  <input name="email"> <input name="password" type="password">
  <button>Sign in</button> <button type="button">Sign out</button>
</form>
<output></output>
<script>
  window.BACKEND = new URLSearchParams(location.search).get("backend") ?? undefined;
</script>
<script type="module" src="/src/main.ts"></script>
"""

MAIN: Final = """
import { backend, session } from "./backend";
import type { User } from "./backend/session";

const form = document.querySelector("form")!;
const output = document.querySelector("output")!;
const show = (user: User | null): void => void (output.value = user?.email ?? "signed out");
const explain = (error: Error): void => void (output.value = error.message);

addEventListener("signed-out", () => show(null));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const value = (name: string) => String(new FormData(form).get(name));
  session.login(value("email"), value("password")).then(show, explain);
});
form.querySelector("button[type=button]")!.addEventListener("click", () => {
  session.logout().catch(explain);
});
session.me().then(show, explain);

// For the tests, and for whoever tries it out in the console.
Object.assign(window, { backend, session });
"""

# In place of the frontend's .env: one build talks to any backend.
TESTS_CONFIG: Final = """
import { mergeConfig } from "vite";
import config from "./vite.config";

export default mergeConfig(config, {
  define: { "import.meta.env.VITE_BACKEND": "window.BACKEND" },
});
"""

# What Vite's own templates set.
PACKAGE: Final = {"private": True, "type": "module", "scripts": {"dev": "vite"}}
TSCONFIG: Final = {
    "compilerOptions": {
        "target": "es2023",
        "module": "esnext",
        "lib": ["ES2023", "DOM"],
        "types": ["vite/client"],
        "moduleResolution": "bundler",
        "verbatimModuleSyntax": True,
        "noEmit": True,
        "strict": True,
        "noUnusedLocals": True,
        "noUnusedParameters": True,
        "erasableSyntaxOnly": True,
        "noFallthroughCasesInSwitch": True,
        "skipLibCheck": True,
    },
    "include": ["src", "*.ts"],
}


def blocks(project: Path, language: str) -> list[str]:
    """Give the blocks of a language that the page shows."""
    text = (project / PAGE).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def make_frontend(project: Path, folder: Path) -> None:
    """Write the app, install what it needs, and generate the types as the page says."""
    npm = require("npm")
    session, index, config = blocks(project, "ts")
    (folder / "src/backend").mkdir(parents=True)
    for path, text in {
        "index.html": INDEX,
        "src/main.ts": MAIN,
        "src/backend/session.ts": session,
        "src/backend/index.ts": index,
        "vite.config.ts": config,
        "vite.tests.ts": TESTS_CONFIG,
        "tsconfig.json": json.dumps(TSCONFIG),
        "package.json": json.dumps(PACKAGE),
    }.items():
        (folder / path).write_text(text, encoding="utf-8")
    run([npm, "install", "--silent", "--no-audit", "--no-fund", *PACKAGES], folder)
    (commands,) = [block for block in blocks(project, "sh") if "openapi-typescript" in block]
    commands = commands.replace("BACKEND", f"'{project}'")
    run(["sh", "-ec", commands], folder, project_environment(PATH=project_path(project)))


def project_path(project: Path) -> str:
    """Give the path on which commands of the page find uv, and npx."""
    return f"{python_of(project).parent}:{project_environment()['PATH']}:{PATH}"


def check_types(folder: Path) -> None:
    """Check the types, as `npm run build` does in Vite's own templates."""
    run([folder / "node_modules/.bin/tsc"], folder)


def build(folder: Path) -> Path:
    """Give the folder of files that a web server serves as the app."""
    run([*vite_command(folder), "build"], folder)
    return folder / "dist"


def vite_command(folder: Path) -> list[str | Path]:
    """Give Vite, with the configuration of the tests around the page's."""
    return [folder / "node_modules/.bin/vite", "--config=vite.tests.ts", "--logLevel=warn"]


@contextmanager
def vite(folder: Path, port: int) -> Iterator[None]:
    """Run `npm run dev`."""
    command = vite_command(folder)
    assert not can_connect(port, "localhost"), f"something runs on port {port} already: stop it"
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL) as process:
        try:
            started = partial(can_connect, port, "localhost")
            wait_until(started, "Vite does not start; see above", START_SECONDS)
            yield
        finally:
            process.terminate()
