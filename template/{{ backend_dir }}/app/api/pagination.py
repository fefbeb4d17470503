"""The parameters and the response of a list that is returned in pages."""

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from app.api.deps import State
from app.db.pagination import PageRequest

Item = TypeVar("Item")


class PageOut(BaseModel, Generic[Item]):
    """Some items of a list. `next_cursor` is the `cursor` of the next page; null on the last."""

    items: Sequence[Item]
    next_cursor: str | None


async def get_page_request(
    state: State,
    limit: Annotated[int, Query(ge=1, le=100, description="The largest number of items.")] = 50,
    cursor: Annotated[
        str | None,
        Query(max_length=8000, description="`next_cursor` of the previous page."),
    ] = None,
) -> PageRequest:
    """Return the page that the client wants."""
    return PageRequest(state.cursors, limit, cursor)


RequestedPage = Annotated[PageRequest, Depends(get_page_request)]
