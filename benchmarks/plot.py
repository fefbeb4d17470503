"""The plot: each figure as a share of its target."""

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.figures import Figure

WIDTH: Final = 900
LABEL: Final = 470
ROW: Final = 34
LETTERS: Final = 74
FULL: Final = 1.5
"""The share of the target at the right edge of the plot."""
GOOD, BAD = "#2e7d32", "#c62828"


def draw(figures: Sequence[Figure]) -> str:
    """Return an SVG: a bar for each median, a whisker for the spread, a line for the target.

    A longer bar is always better: for a maximum, the target is divided by the figure.
    """
    rows = [it for it in figures if it.target]
    height = ROW * (len(rows) + 1)
    target = x(1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, it in enumerate(rows):
        parts += draw_row(it, ROW * number + 8)
    parts += [
        f'<line x1="{target}" y1="0" x2="{target}" y2="{height - ROW}" stroke="#333" '
        'stroke-dasharray="4"/>',
        f'<text x="{target}" y="{height - 12}" text-anchor="middle">target</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def draw_row(figure: Figure, top: int) -> list[str]:
    """Return the label, bar and whisker of a row."""
    ends = sorted(x(share(figure, it)) for it in figure.samples)
    middle = top + ROW / 2 - 8
    name = figure.name.replace("`", "")
    short = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
    unit = figure.target.unit if figure.target else ""
    return [
        f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(short)}</text>',
        f'<rect x="{LABEL}" y="{top}" width="{x(share(figure, figure.median)) - LABEL:.1f}" '
        f'height="{ROW - 16}" fill="{GOOD if figure.is_met else BAD}" fill-opacity="0.75"/>',
        f'<line x1="{ends[0]:.1f}" y1="{middle}" x2="{ends[-1]:.1f}" y2="{middle}" stroke="#000"/>',
        f'<text x="{LABEL + 6}" y="{middle + 4}" fill="#fff">{figure.median:.2f}{unit}</text>',
    ]


def share(figure: Figure, value: float) -> float:
    """Return the share of the target that a value reaches."""
    assert figure.target is not None
    part = value / figure.target.value
    return part if figure.target.sign == "≥" else 1 / part


def x(share: float) -> float:
    """Return the horizontal position of a share of the target."""
    return LABEL + min(share, FULL) / FULL * (WIDTH - LABEL - 10)
