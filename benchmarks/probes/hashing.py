"""How long one password hash takes here, with nothing else to do: prints a hash, and seconds."""

import asyncio
import json
import time

from app.core.security import PasswordHasher
from app.core.startup import load_settings

PASSWORD = "a passphrase for tests"  # noqa: S105 - of users that live as long as the run
TIMES = 5


async def main() -> None:
    hasher = PasswordHasher(load_settings().bcrypt_rounds)
    hashed = await hasher.hash(PASSWORD)
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        await hasher.verify(PASSWORD, hashed)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"hash": hashed, "seconds": seconds}))


asyncio.run(main())
