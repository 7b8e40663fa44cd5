"""Self-contained HTML pages: what the report pages of training and export have in common.

Functions that take text escape it; parts and sections are HTML already.
"""

import base64
import html
from collections.abc import Iterable, Sequence

from edgeemo.contract.checked.text import printable

STYLE = """
:root { color-scheme: light dark; --line: #d8dee6; --heat: 0, 114, 178; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4450; --heat: 86, 180, 233; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--line); } .wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .2rem 0; } th, td { padding: .2rem .7rem; text-align: right; }
tr { border-bottom: 1px solid var(--line); } td.text, th.text { text-align: left; }
p img { max-width: 100%; background: #fff; border-radius: 4px; padding: 4px; }
p img { box-sizing: border-box; }
code { overflow-wrap: anywhere; } summary { cursor: pointer; }
"""


def page(title: str, sections: Iterable[str], style: str = "") -> str:
    """A whole page; `style` is CSS behind STYLE."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{text(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{style}</style></head><body><main>\n<h1>{text(title)}</h1>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A section with a heading."""
    return f"<section><h2>{text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(words: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{text(words)}</p>"


def details(summary: str, *parts: str) -> str:
    """Parts that are shown when somebody opens them."""
    return f"<details><summary>{text(summary)}</summary>{''.join(parts)}</details>"


def picture(png: bytes, alt: str) -> str:
    """A PNG, inside the page."""
    return f"<p>{image(png, alt)}</p>"


def image(png: bytes, alt: str) -> str:
    """A PNG as an element inside a line; `alt` is its tooltip as well."""
    words = text(alt)
    return f'<img alt="{words}" title="{words}" src="data:image/png;base64,{_base64(png)}">'


def table(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """A table of plain values, a row's first cell its heading.

    Whole numbers are grouped in thousands; columns that hold anything else are aligned left.
    """
    left = [i == 0 or any(not isinstance(row[i], int) for row in rows) for i in range(len(head))]
    body = "".join(
        f'<tr><th scope="row" class="text">{text(row[0])}</th>'
        + "".join(_cell(value, at_left) for value, at_left in zip(row[1:], left[1:], strict=True))
        + "</tr>\n"
        for row in rows
    )
    return _table(head, left, body, caption)


def heat_table(
    corner: str, names: Sequence[str], matrix: Sequence[Sequence[int]], caption: str = ""
) -> str:
    """A square table of counts (rows and columns `names`), darker where they are larger."""
    largest = max(max(row) for row in matrix) or 1
    body = "".join(
        f'<tr><th scope="row" class="text">{text(name)}</th>'
        + "".join(
            f'<td style="background: rgba(var(--heat), {0.6 * n / largest:.2f})">{n:,}</td>'
            for n in row
        )
        + "</tr>\n"
        for name, row in zip(names, matrix, strict=True)
    )
    return _table([corner, *names], [True] + [False] * len(names), body, caption)


def text(value: object) -> str:
    """Anything as text, escaped."""
    return html.escape(printable(str(value)))


def _table(head: Sequence[str], left: Sequence[bool], body: str, caption: str) -> str:
    heads = "".join(
        f'<th scope="col"{_align(at_left)}>{text(word)}</th>'
        for word, at_left in zip(head, left, strict=True)
    )
    titled = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{titled}<thead><tr>{heads}</tr></thead><tbody>\n{body}'
        "</tbody></table></div>"
    )


def _cell(value: object, at_left: bool) -> str:
    words = f"{value:,}" if isinstance(value, int) else text(value)
    return f"<td{_align(at_left)}>{words}</td>"


def _align(at_left: bool) -> str:
    return ' class="text"' if at_left else ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
