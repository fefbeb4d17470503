"""Figures: the results of several rounds, compared with a target."""

from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A minimum or maximum, of a ratio or in seconds."""

    sign: Literal["≥", "≤"]
    value: float
    unit: Literal["", " s"] = ""

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}{self.unit}"


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    samples: one for each round. measured: a text with the values behind the ratio.
    """

    name: str
    samples: list[float]
    measured: str = ""
    target: Target | None = None

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    @property
    def is_met(self) -> bool | None:
        """Return whether the median meets the target, or None if there is no target."""
        if self.target is None:
            return None
        if self.target.sign == "≥":
            return self.median >= self.target.value
        return self.median <= self.target.value


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Return our sample divided by theirs, for each round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def against(ours: list[float], theirs: list[float], unit: str, digits: int = 0) -> str:
    """Return a text with the medians behind a ratio."""
    return f"{median(ours):.{digits}f} against {median(theirs):.{digits}f} {unit}"
