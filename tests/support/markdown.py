"""Markdown pages: their broken links and the code that they show."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

PARSER = MarkdownIt("commonmark").enable("table")


def broken_links(folder: Path, pages: list[Path]) -> Iterator[str]:
    """Yield each link of the pages whose file or heading does not exist in their folder."""
    for page in pages:
        for link in _links(page):
            target = urlsplit(link)
            if target.scheme:
                continue
            file = page.parent / unquote(target.path) if target.path else page
            if not file.resolve().is_relative_to(folder.resolve()) or not file.exists():
                yield f"{page.relative_to(folder)}: {link} leads to no file here"
            elif target.fragment and target.fragment not in _anchors(file):
                yield f"{page.relative_to(folder)}: {link} leads to no heading"


def code(page: Path) -> Iterator[str]:
    """Yield the code of a page: its code blocks and the texts in backticks."""
    for token in _tokens(page):
        if token.type in ("fence", "code_block", "code_inline"):
            yield token.content


def _tokens(page: Path) -> Iterator[Token]:
    for token in PARSER.parse(page.read_text(encoding="utf-8")):
        yield token
        yield from token.children or []


def _links(page: Path) -> Iterator[str]:
    for token in _tokens(page):
        link = token.attrGet("href") or token.attrGet("src")
        if link is not None:
            yield str(link)


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub generates for the headings."""
    tokens = list(_tokens(page))
    headings = [
        "".join(child.content for child in text.children or [])
        for opening, text in pairwise(tokens)
        if opening.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", it.lower()).replace(" ", "-") for it in headings}
