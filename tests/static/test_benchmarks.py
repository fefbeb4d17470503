"""The parts of the benchmark, without measurements."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import plot, report, wrk
from benchmarks.figures import Figure, Target, ratios
from benchmarks.rows import fill, live_token

FIGURES = [
    Figure("`GET /a`, as a share of <b>", ratios([6, 5], [10, 10]), "", Target("≥", 0.6)),
    Figure("seconds", [20.0], "", Target("≤", 25, " s")),
    Figure("without a target", [0.5]),
]


def test_missed_target_is_marked_as_missed() -> None:
    missed, met, neither = report.table(FIGURES).splitlines()[2:]
    assert "≥ 0.6 | 0.55 | 0.50 – 0.60 |  | **missed**" in missed
    assert "≤ 25 s | 20.00 s |  |  | met" in met
    assert neither.endswith("|  |")


def test_the_plot_has_a_bar_for_each_target() -> None:
    picture = ElementTree.fromstring(plot.draw(FIGURES))  # noqa: S314 - ours
    bars = [it for it in picture if it.tag.endswith("rect") and "fill-opacity" in it.attrib]
    assert [it.get("fill") for it in bars] == [plot.BAD, plot.GOOD]


def test_run_replaces_the_section_of_the_previous_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        report.write_page(page, report.section(FIGURES, {"CPU": r"\1"}, 5, "plot.svg"))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert text.count("**missed**") == 1
    assert "old" not in text


def test_partial_run_keeps_earlier_results_of_the_same_machine(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    assert report.load(results, {"CPU": "one"}) == {}
    report.save(results, {"calls": FIGURES}, {"CPU": "one"}, 5)
    assert report.load(results, {"CPU": "one"}) == {"calls": FIGURES}
    assert report.load(results, {"CPU": "another"}) == {}


def test_result_with_errors_is_rejected() -> None:
    line = '{{"requests": 10, "seconds": 2.0, "p99": 0.1, "errors": {}}}'
    assert wrk.parse(f"noise\n{line.format(0)}\n").rate == 5
    with pytest.raises(AssertionError):
        wrk.parse(line.format(1))


def test_inserted_rows_have_the_tokens_that_the_benchmark_uses() -> None:
    token = live_token(12)
    assert len(token) == 43
    assert token.startswith("live-12-x")
    assert "rpad('live-' || s || '-', 43, 'x')" in fill(1, 2, "hash")
