"""A page as a reader sees it: its text, its elements, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_CELLS = {"th", "td", "p", "li"}
_VOID = {"meta", "link", "br", "img", "hr", "input", "rect", "path"}


@dataclass
class Element:
    """An element with its attributes, and all the text in it."""

    tag: str
    attributes: dict[str, str | None]
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text in it, with single spaces."""
        return " ".join("".join(self.parts).split())


class Page(HTMLParser):
    """All elements of a page, in their order. Unbalanced ones fail the test."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """It ends what was begun last."""
        if tag not in _VOID:
            assert self._open.pop().tag == tag
        if tag in _CELLS:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        """Text belongs to all elements that it is in."""
        for element in self._open:
            element.parts.append(data)

    def close(self) -> None:
        """Everything has ended."""
        super().close()
        assert self._open == []

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of this name with these attributes."""
        return [
            element
            for element in self.elements
            if element.tag == tag
            and all(element.attributes.get(name.rstrip("_")) == value for name, value in attributes.items())
        ]

    @property
    def text(self) -> str:
        """The text of its body."""
        [body] = self.all("body")
        return body.text

    @property
    def links(self) -> list[str]:
        """Where it leads."""
        return [str(element.attributes["href"]) for element in self.all("a")]


def parsed(html: str) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(html)
    page.close()
    return page
