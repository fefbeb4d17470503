"""A browser as small as can be: HTTP with a cookie jar, of the standard library only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPMessage
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

HANG_SECONDS = 120
"""How long a test waits for what should happen soon: to end a hang, not to judge the machine."""


@dataclass(frozen=True)
class Answer:
    """What came back; JSON is parsed."""

    status: int
    headers: HTTPMessage
    body: Any


FORM = "application/x-www-form-urlencoded"


@dataclass
class Browser:
    """One client of the backend on a port of this machine."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"

    def get(self, path: str) -> Answer:
        """Call GET."""
        return self._call("GET", path)

    def post(self, path: str, form: Mapping[str, str] | None = None) -> Answer:
        """Call POST, with a form if there is one."""
        return self._call("POST", path, urlencode(form) if form else None, FORM)

    def put(self, path: str, body: Mapping[str, str]) -> Answer:
        """Call PUT, with JSON."""
        return self._call("PUT", path, json.dumps(body), "application/json")

    def delete(self, path: str) -> Answer:
        """Call DELETE."""
        return self._call("DELETE", path)

    def _call(
        self, method: str, path: str, body: str | None = None, media_type: str = FORM
    ) -> Answer:
        headers = {}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={it}" for name, it in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = media_type
        connection = HTTPConnection(self.host, self.port, timeout=HANG_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        is_json = response.headers.get_content_subtype() in ("json", "problem+json")
        return Answer(
            response.status, response.headers, json.loads(content) if is_json else content
        )
