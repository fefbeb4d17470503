"""Web sites behind Caddy with its own certificates, like on the internet."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from scripts.projects import python_of
from tests.support.servers import Server, can_connect, free_port, started, wait_until
from tests.support.tools import require

ANSWERS: Final = ("lax", "strict", "none")
ACCESS_LOG: Final = "access.log"
# Two origins, and their relation in a browser.
SITES: Final = (
    ("https://app.example.com", "https://api.example.com", "same-site"),
    ("https://shop.vercel.app", "https://api.vercel.app", "cross-site"),
    ("https://shop.netlify.app", "https://api.netlify.app", "cross-site"),
    ("https://shop.github.io", "https://api.github.io", "cross-site"),
    ("https://shop.onrender.com", "https://api.onrender.com", "cross-site"),
    ("https://shop.fly.dev", "https://api.fly.dev", "cross-site"),
    ("https://shop.up.railway.app", "https://api.up.railway.app", "cross-site"),
)

# app and api are the same site, www is the same origin as its backend, and evil is an untrusted
# sibling.
CADDYFILE: Final = """
{{
    admin off
    local_certs
    skip_install_trust
    grace_period 1s
    auto_https disable_redirects
    https_port {port}
    storage file_system {folder}/certificates
    servers {{
        protocols h1 h2
    }}
}}
(logged) {{
    log {{
        output file {folder}/{access_log}
    }}
}}
(frontend) {{
    root * {frontend}
    try_files {{path}} /index.html
    file_server
}}
(blank) {{
    header Content-Type text/html
    header Access-Control-Allow-Origin *
    respond "{{http.request.header.Sec-Fetch-Site}}"
}}
https://app.other.test {{
    import frontend
}}
https://evil.test, {others} {{
    import blank
}}
"""
SHOP: Final = """
https://app.{name}.test {{
    import logged
    import frontend
}}
https://api.{name}.test {{
    import logged
    reverse_proxy 127.0.0.1:{backend}
}}
https://www.{name}.test {{
    handle /api/* {{
        reverse_proxy 127.0.0.1:{backend}
    }}
    handle {{
        import frontend
    }}
}}
https://evil.{name}.test {{
    import blank
}}
"""


@contextmanager
def backends(
    project: Path, environment: Mapping[str, str], urls: Mapping[str, str], folder: Path
) -> Iterator[dict[str, Server]]:
    """Serve a project once for each SameSite answer.

    urls: of a database for each answer. Each backend has its own, because it runs the jobs in its
        database, and they send links to its frontend.
    """
    command = [str(python_of(project)), "-m", "app", "serve"]
    with ExitStack() as stack:
        servers = {}
        for answer in ANSWERS:
            own = {
                "COOKIE_SAMESITE": answer,
                "DATABASE_URL": urls[answer],
                "FRONTEND_URL": f"https://app.{answer}.test",
                "CORS_ORIGINS": f"https://app.{answer}.test,https://app.other.test",
                "PORT": str(free_port()),
            }
            log = folder / f"{answer}.log"
            process = started(command, project, {**environment, **own}, log)
            servers[answer] = stack.enter_context(process)
        for server in servers.values():
            server.wait_until_ready()
        yield servers


@contextmanager
def websites(folder: Path, frontend: Path, servers: Mapping[str, Server]) -> Iterator[int]:
    """Serve the frontend and each backend at NAME.test, and yield the HTTPS port.

    The origins of `SITES` have a page that shows its Sec-Fetch-Site header.
    """
    port = free_port()
    others = [origin for pair in SITES for origin in pair[:2]]
    text = CADDYFILE.format(
        port=port,
        folder=folder,
        access_log=ACCESS_LOG,
        frontend=frontend,
        others=", ".join(others),
    )
    text += "".join(SHOP.format(name=name, backend=it.port) for name, it in servers.items())
    config = folder / "Caddyfile"
    config.write_text(text, encoding="utf-8")
    command: list[str | Path] = [require("caddy"), "run", "--config", config]
    command += ["--adapter", "caddyfile"]
    with (
        (folder / "caddy.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as caddy,
    ):
        try:
            wait_until(lambda: can_connect(port), f"Caddy does not start; see {log.name}")
            yield port
        finally:
            caddy.terminate()
