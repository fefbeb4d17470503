"""Measure password hashing on an otherwise idle machine.

Print a hash, the seconds of a few single verifications, and the verifications per second of all
cores together.
"""

import asyncio
import json
import os
import time

from app.core.security import PasswordHasher
from app.core.startup import load_settings

PASSWORD = "a passphrase for tests"  # noqa: S105 - of temporary users
TIMES = 5


async def main() -> None:
    hasher = PasswordHasher(load_settings().bcrypt_rounds)
    hashed = await hasher.hash(PASSWORD)
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        await hasher.verify(PASSWORD, hashed)
        seconds.append(time.perf_counter() - started)
    together = TIMES * len(os.sched_getaffinity(0))
    started = time.perf_counter()
    await asyncio.gather(*(hasher.verify(PASSWORD, hashed) for _ in range(together)))
    rate = together / (time.perf_counter() - started)
    print(json.dumps({"hash": hashed, "seconds": seconds, "rate": rate}))


asyncio.run(main())
