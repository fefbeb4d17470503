"""Keyset pagination: a page begins after the last row of the previous page.

An index leads to that row, so the last page is as fast as the first one, and rows that are inserted
meanwhile shift no page. `OFFSET` would read and discard all rows before the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Select, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.core.cursors import Cursors

Item = TypeVar("Item")


@dataclass(frozen=True)
class PageRequest:
    """The page that a client wants.

    limit: the largest number of items. cursor: the `next_cursor` of the previous page; None for the
    first page.
    """

    cursors: Cursors
    limit: int
    cursor: str | None = None


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list. next_cursor: the cursor of the next page; None on the last page."""

    items: Sequence[Item]
    next_cursor: str | None


async def fetch_page(
    db: AsyncSession,
    statement: Select[Item],
    page: PageRequest,
    *key: InstrumentedAttribute[Any],
    descending: bool = False,
) -> Page[Item]:
    """Return a page of the entities that a statement selects.

    key: the columns to sort by. They are never NULL, the last one is unique, and an index should
        begin with the columns that the statement compares, and end with these.

    Raise `InvalidCursor`.
    """
    name = " ".join([*map(str, key), "descending" if descending else "ascending"])
    if page.cursor is not None:
        values = page.cursors.verify(name, page.cursor)
        last = tuple_(*(_parse(column, value) for column, value in zip(key, values, strict=True)))
        position = tuple_(*key)
        statement = statement.where(position < last if descending else position > last)
    order = [column.desc() if descending else column.asc() for column in key]
    # One more than requested tells whether there is another page.
    found = (await db.scalars(statement.order_by(*order).limit(page.limit + 1))).all()
    items = found[: page.limit]
    if len(found) <= page.limit:
        return Page(items, None)
    return Page(items, page.cursors.issue(name, [_dump(items[-1], column) for column in key]))


def _dump(item: object, column: InstrumentedAttribute[Any]) -> Any:
    return TypeAdapter(column.type.python_type).dump_python(getattr(item, column.key), mode="json")


def _parse(column: InstrumentedAttribute[Any], value: Any) -> Any:
    return literal(TypeAdapter(column.type.python_type).validate_python(value), column.type)
