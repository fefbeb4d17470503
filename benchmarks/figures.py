"""A figure: what is measured, over several rounds, against its target."""

from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Target:
    """At least, or at most, a ratio or so many seconds."""

    sign: Literal["≥", "≤"]
    value: float
    unit: Literal["", " s"] = ""

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}{self.unit}"


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    samples: one for each round. measured: what the ratio was made of, in words.
    """

    name: str
    samples: list[float]
    measured: str = ""
    target: Target | None = None

    @property
    def median(self) -> float:
        """The sample in the middle."""
        return median(self.samples)

    @property
    def is_met(self) -> bool | None:
        """Return whether the median meets the target; None without one."""
        if self.target is None:
            return None
        if self.target.sign == "≥":
            return self.median >= self.target.value
        return self.median <= self.target.value


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Divide what was measured in the same round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def against(ours: list[float], theirs: list[float], unit: str, digits: int = 0) -> str:
    """Say of what medians a ratio was made."""
    return f"{median(ours):.{digits}f} against {median(theirs):.{digits}f} {unit}"
