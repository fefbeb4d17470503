"""A flood of requests from a separate process: many connections that send without a pause.

Run it as a program with a `Flood` as JSON on standard input. It prints the count of each status.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Flood:
    """The request to send repeatedly.

    headers, form, json: may contain `%(n)d`, the number of the request, and `%(c)d`, the number of
    the connection, so that addresses and emails can change.
    """

    connections: int
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    json: Mapping[str, str] | None = None

    def template(self) -> tuple[str, str]:
        """Return the head without the length, and the body."""
        body, media_type = "", FORM
        if self.form is not None:
            # This keeps the placeholders, and adds no other percent sign.
            body = urlencode(self.form, safe="%()@")
        if self.json is not None:
            body, media_type = json.dumps(self.json), "application/json"
        head = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        if body:
            head.append(f"Content-Type: {media_type}")
        return "\r\n".join(head), body


@contextmanager
def flood(port: int, spec: Flood, seconds: float = 60) -> Iterator[Counter[int]]:
    """Send a flood until the block ends, and then fill the counter.

    seconds: the time after which it stops by itself.
    """
    counts: Counter[int] = Counter()
    command = [sys.executable, __file__, str(port), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(spec)).encode() + b"\n")
        process.stdin.flush()
        try:
            yield counts
        finally:
            output, _ = process.communicate()  # it stops when its input is closed
            counts.update({int(status): count for status, count in json.loads(output).items()})


async def main(port: int, seconds: float) -> None:
    """Send until standard input is closed, but not longer than a number of seconds."""
    loop = asyncio.get_running_loop()
    spec = Flood(**json.loads(sys.stdin.readline()))
    counts: Counter[int] = Counter()
    number = iter(range(10**9))
    tasks = [
        asyncio.create_task(send(port, spec, connection, number, counts))
        for connection in range(spec.connections)
    ]
    ended = loop.run_in_executor(None, sys.stdin.read)
    await asyncio.wait({ended}, timeout=seconds)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError), outcome
    sys.stdout.write(json.dumps(counts))


async def send(
    port: int, spec: Flood, connection: int, number: Iterator[int], counts: Counter[int]
) -> None:
    """Send requests one by one on one connection, and count the statuses. 0 is no response."""
    head, body = spec.template()
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while True:
                values = {"n": next(number), "c": connection}
                content = (body % values).encode()
                length = f"\r\nContent-Length: {len(content)}" if content else ""
                writer.write(f"{head % values}{length}\r\n\r\n".encode() + content)
                response = await reader.readuntil(b"\r\n\r\n")
                counts[int(response.split(b" ", 2)[1])] += 1
                fields = response.lower()
                if b"content-length: " in fields:
                    await reader.readexactly(
                        int(fields.split(b"content-length: ")[1].split(b"\r")[0])
                    )
                if b"connection: close" in fields:
                    break
        except (OSError, asyncio.IncompleteReadError):
            counts[0] += 1
        finally:
            writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
