"""HTML written so that nothing from a file can become markup: whatever is not `Html` is escaped.

`element("td", name, class_="name")` -> `<td class="name">…</td>`; attributes lose a trailing underscore, and
underscores inside become hyphens; None and False leave an attribute out, True writes it without a value.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"meta", "br", "hr", "wbr", "link"})
# Drawing elements without children; in HTML they are closed by a slash.
_EMPTY_SVG = frozenset({"path", "line", "rect", "circle"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Attribute = str | float | bool | None


def element(name: str, /, *children: str, **attributes: Attribute) -> Html:
    """One element with its children, which are escaped unless they are `Html`."""
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}"
    if name in _VOID:
        return Html(f"{opening}>")
    if name in _EMPTY_SVG and not children:
        return Html(f"{opening}/>")
    return Html(f"{opening}>{joined(children)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """Parts one after another, escaped unless they are `Html`."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in parts))


def breakable(name: str) -> Html:
    """A name that may break after each underscore, for narrow columns."""
    return Html("_<wbr>".join(html.escape(part) for part in name.split("_")))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if name == "viewbox":
        name = "viewBox"
    if value is True:
        return f" {name}"
    return f' {name}="{html.escape(f"{value:g}" if isinstance(value, float) else str(value))}"'
