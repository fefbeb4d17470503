"""The browser app of docs/frontend.md: the code that the page shows, and a form that uses it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from scripts.projects import project_environment, python_of
from tests.support.commands import run
from tests.support.servers import can_connect, wait_until
from tests.support.tools import PATH, require

PAGE: Final = "docs/frontend.md"
STREAMS: Final = "docs/streaming.md"
START_SECONDS: Final = 30
# The newest versions, which a new frontend gets today.
CREATE: Final = ("create", "--yes", "vite@latest")
TEMPLATE: Final = ("--template", "react-ts", "--no-interactive")
# Options that careful teams add to those of Vite's template.
STRICT: Final = ("--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess")

INDEX: Final = """<!doctype html>
<title>Shop</title>
<form>
  <input name="email"> <input name="password" type="password">
  <button>Sign in</button> <button type="button">Sign out</button>
</form>
<output></output>
{pages}
<script>
  const [name, ...site] = location.hostname.split(".");
  window.BACKEND = new URLSearchParams(location.search).get("backend")
    ?? (name === "app" ? `https://api.${site.join(".")}` : undefined);
</script>
<script type="module" src="/src/main.ts"></script>
"""

MAIN: Final = """
import "./account";
import { session } from "./backend";
import { backend } from "./backend/client";
import type { User } from "./backend/session";
import { openEvents, openSocket } from "./backend/stream";

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

// For the tests, and for the browser console.
Object.assign(window, { backend, session, openEvents, openSocket });
"""

# Claims about the generated types. The compiler checks them, and nothing runs.
TYPES: Final = """
import { backend } from "./backend/client";
import type { components, operations } from "./backend/schema";
import type { Problem, User } from "./backend/session";

type Schemas = components["schemas"];

// The handwritten types of the module match those of the backend.
export const sameUser = (user: Schemas["UserOut"]): User => user;
export const sameOut = (user: User): Schemas["UserOut"] => user;
export const sameProblem = (problem: Schemas["ProblemDocument"]): Problem => problem;

export type Names = Pick<operations, "login" | "readMe" | "endSession" | "changePassword">;

export async function narrowed(): Promise<number> {
  const { error } = await backend.POST("/api/v1/users", { body: { email: "", password: "" } });
  // @ts-expect-error: no response of this endpoint has that type
  if (error?.type === "/problems/session-not-found") return 0;
  if (error?.status !== 422) return 0;
  if (error.type === "/problems/unacceptable-password") return error.errors?.length ?? 0;
  // @ts-expect-error: the field is a list or absent, never null
  error.errors = null;
  return 422;
}
"""

# Instead of the frontend's .env, so that one build can use any backend.
TESTS_CONFIG: Final = """
import { mergeConfig } from "vite";
import config from "./vite.config";

export default mergeConfig(config, {
  define: { "import.meta.env.VITE_BACKEND": "window.BACKEND" },
});
"""


def blocks(project: Path, language: str, page: str = PAGE) -> list[str]:
    """Return the code blocks of a language on a page."""
    text = (project / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def make_frontend(project: Path, folder: Path) -> None:
    """Create a React app with Vite, and add the page's code and the generated types."""
    npm = require("npm")
    run([npm, *CREATE, folder.name, "--", *TEMPLATE], folder.parent)
    session, index, client, sign_up, token, account, config = blocks(project, "ts")
    stream, inbox = blocks(project, "ts", STREAMS)
    (pages,) = blocks(project, "html")
    (folder / "src/backend").mkdir(parents=True)
    for path, text in {
        "index.html": INDEX.replace("{pages}", pages),
        "src/main.ts": MAIN,
        "src/types.ts": TYPES,
        "src/sign-up.ts": sign_up,
        "src/token.ts": token,
        "src/account.ts": account,
        "src/inbox.ts": inbox,
        "src/backend/session.ts": session,
        "src/backend/index.ts": index,
        "src/backend/client.ts": client,
        "src/backend/stream.ts": stream,
        "vite.config.ts": config,
        "vite.tests.ts": TESTS_CONFIG,
    }.items():
        (folder / path).write_text(text, encoding="utf-8")
    generate, install = [block for block in blocks(project, "sh") if "np" in block]
    assert install == "npm install openapi-fetch\n"
    run([npm, *install.split()[1:], "--silent", "--no-audit", "--no-fund"], folder)
    generate = generate.replace("BACKEND", f"'{project}'")
    run(["sh", "-ec", generate], folder, project_environment(PATH=project_path(project)))


def project_path(project: Path) -> str:
    """Return the path on which commands of the page find uv and npx."""
    return f"{python_of(project).parent}:{project_environment()['PATH']}:{PATH}"


def check_types(folder: Path) -> None:
    """Check the types like `npm run build` of Vite's template, and then with more options."""
    tsc = folder / "node_modules/.bin/tsc"
    run([tsc, "--build"], folder)
    run([tsc, "--project", "tsconfig.app.json", *STRICT], folder)


def check_types_of_module(frontend: Path, folder: Path) -> None:
    """Check the types of the module alone, before the schema is generated."""
    (folder / "src/backend").mkdir(parents=True)
    (folder / "node_modules").symlink_to(frontend / "node_modules")
    names = ("tsconfig.app.json", "src/backend/session.ts", "src/backend/index.ts")
    for name in names:
        shutil.copy(frontend / name, folder / name)
    tsc = folder / "node_modules/.bin/tsc"
    run([tsc, "--project", "tsconfig.app.json", "--incremental", "false", *STRICT], folder)


def build(folder: Path) -> Path:
    """Build the app, and return the folder of files for a web server."""
    run([*vite_command(folder), "build"], folder)
    return folder / "dist"


def vite_command(folder: Path) -> list[str | Path]:
    """Return the command of Vite. The configuration of the tests extends the page's."""
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
