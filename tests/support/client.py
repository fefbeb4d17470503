"""A minimal browser: an HTTP client with a cookie jar that uses only the standard library."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPMessage
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

HANG_SECONDS = 120
"""The maximum time that a test waits. It only ends a hang and does not measure performance."""


@dataclass(frozen=True)
class Response:
    """A response; JSON is parsed."""

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

    def get(self, path: str) -> Response:
        """Send a GET request."""
        return self._send("GET", path)

    def post(self, path: str, form: Mapping[str, str] | None = None) -> Response:
        """Send a POST request with an optional form."""
        return self._send("POST", path, urlencode(form) if form else None, FORM)

    def post_json(self, path: str, body: Mapping[str, object]) -> Response:
        """Send a POST request with JSON."""
        return self._send("POST", path, json.dumps(body), "application/json")

    def put(self, path: str, body: Mapping[str, str]) -> Response:
        """Send a PUT request with JSON."""
        return self._send("PUT", path, json.dumps(body), "application/json")

    def delete(self, path: str) -> Response:
        """Send a DELETE request."""
        return self._send("DELETE", path)

    def _send(
        self, method: str, path: str, body: str | None = None, media_type: str = FORM
    ) -> Response:
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
        return Response(
            response.status, response.headers, json.loads(content) if is_json else content
        )
