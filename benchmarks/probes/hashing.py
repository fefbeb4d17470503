"""How long password hashes take here, with nothing else to do.

Prints a hash, the seconds of each of a few made alone, and how many a second all cores make.
"""

import asyncio
import json
import os
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
    together = TIMES * len(os.sched_getaffinity(0))
    started = time.perf_counter()
    await asyncio.gather(*(hasher.verify(PASSWORD, hashed) for _ in range(together)))
    rate = together / (time.perf_counter() - started)
    print(json.dumps({"hash": hashed, "seconds": seconds, "rate": rate}))


asyncio.run(main())
