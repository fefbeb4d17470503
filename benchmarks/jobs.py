"""Background jobs, compared with the same by hand on asyncpg."""

from benchmarks.figures import Figure, against, ratios
from benchmarks.stage import Stage


def measure(stage: Stage, rounds: int) -> list[Figure]:
    """Run a thousand jobs that do nothing, and a hundred one after the other."""
    found = [stage.probe("jobs", LOG_LEVEL="WARNING") for _ in range(rounds)]
    rates, by_hand, starts, notifications = (
        [it[name] for it in found] for name in ("rate", "by_hand", "start", "notification")
    )
    return [
        Figure(
            "jobs per second of one worker, as a share of a loop by hand that takes ten at once",
            ratios(rates, by_hand),
            against(rates, by_hand, "a second"),
        ),
        Figure(
            "from the commit of a job to its start, relative to a notification by hand",
            ratios(starts, notifications),
            against(starts, notifications, "ms", 1),
        ),
    ]
