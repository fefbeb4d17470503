"""The tables that represent all variants are complete."""

import itertools

from tests.render.listing import LISTING
from tests.support.variants import HOSTILE, TABLE, columns, pairs, questions, rows, variants_to_run


def test_every_pair_of_answers_is_in_a_row() -> None:
    offered = columns()
    required = {
        ((one, answer), (other, another))
        for one, other in itertools.combinations(sorted(offered), 2)
        for answer in offered[one]
        for another in offered[other]
    }
    found = {pair for row in rows() for pair in pairs(row)}
    missing = [f"{a}={b} with {c}={d}" for (a, b), (c, d) in sorted(required - found)]
    assert not missing, f"{TABLE.name} needs rows for:\n" + "\n".join(missing)
    assert found <= required, f"{TABLE.name} has impossible answers: {found - required}"


def test_every_answer_is_in_a_row_that_is_run() -> None:
    run = variants_to_run().values()
    for name, offered in columns().items():
        assert {row[name] for row in run} == set(offered), (
            f"tests/support/variants.py: RUN lacks an answer to {name}"
        )


def test_every_text_has_a_hostile_answer() -> None:
    texts = {name for name, question in questions().items() if "choices" not in question}
    assert HOSTILE.keys() == texts


def test_every_answer_has_its_listing() -> None:
    offered = {name: set(choices) for name, choices in columns().items() if name in questions()}
    listed = {name: set(by_answer) for name, by_answer in LISTING["answers"].items()}
    assert listed == offered
