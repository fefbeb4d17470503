"""The rate of logins, and how much they delay other requests."""

import subprocess
from statistics import median
from typing import Final
from urllib.parse import urlencode

from benchmarks.figures import Figure, Target, against, ratios
from benchmarks.rows import PASSWORD, email
from benchmarks.stage import Stage
from benchmarks.wrk import Load, command, fire, parse
from tests.support.production import LOGIN

AT_ONCE: Final = 8
PAUSE_MILLISECONDS: Final = 5


def measure(stage: Stage, rounds: int, seconds: float) -> list[Figure]:
    """Sign in continuously, and request `/health` from time to time."""
    hashes, limits, rates, latencies = [], [], [], []
    form = urlencode({"username": email(1), "password": PASSWORD})
    with stage.app() as app:
        logins = Load(app.port, LOGIN, {}, ["login", form], AT_ONCE)
        health = Load(app.port, "/health", {}, ["slowly", str(PAUSE_MILLISECONDS)], 1)
        for _ in range(rounds):
            alone = stage.probe("hashing")
            hashes.append(median(alone["seconds"]))
            limits.append(alone["rate"])
            rates.append(fire(logins, seconds).rate)
            with subprocess.Popen(
                command(logins, seconds + 2), stdout=subprocess.PIPE, text=True
            ) as crowd:
                latencies.append(fire(health, seconds).p99)
                parse(crowd.communicate()[0])
    return [
        Figure(
            "logins per second, as a share of the hashes per second of all cores",
            ratios(rates, limits),
            against(rates, limits, "a second", 1),
            Target("≥", 0.85),
        ),
        Figure(
            "p99 of `/health` while eight logins run, as a share of one hash's time",
            ratios(latencies, hashes),
            against([it * 1000 for it in latencies], [it * 1000 for it in hashes], "ms", 1),
            Target("≤", 0.15),
        ),
    ]
