"""Emotion over time as a page: one file that needs nothing else, light or dark as the reader has
it.
"""

import html
from collections.abc import Iterator, Mapping

from edgeemo.cli.summary.drawn import Chart, charts, clock, colours, name_of, ticks, used
from edgeemo.contract.checked.text import printable
from edgeemo.contract.languages import phrase
from edgeemo.live.summary import MOST_FACES, Emotion, Summary

_WIDTH, _HEIGHT, _FOOT = 960, 120, 32  # of a chart, in units of its drawing
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --soft: #5a6675; --line: #d8dee6; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161c; --ink: #e8edf3; --soft: #9aa7b6; --line: #36404c; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  background: var(--paper); color: var(--ink); }
h1 { font-size: 1.5rem; margin-bottom: .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
p, caption { color: var(--soft); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; dominant-baseline: hanging; }
svg path { shape-rendering: crispEdges; }
@media (max-width: 40rem) { svg text { font-size: 24px; } }
.frame { fill: none; stroke: var(--line); } .tick { stroke: var(--line); }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; }
i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: .5rem; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
"""


def page(summary: Summary, title: str, language: str) -> str:
    """The whole page, HTML."""
    heading = f"{phrase('Emotion over time', language)}: {title}"
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f"<title>{_text(heading)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>\n<h1>{_text(heading)}</h1>\n"
        + "\n".join(_parts(summary, language))
        + "\n</main></body></html>\n"
    )


def _parts(summary: Summary, language: str) -> Iterator[str]:
    drawn, palette = charts(summary, language), colours(summary)
    yield f"<p>{_text(counted(summary, language))}</p>"
    if not drawn:
        yield f"<p>{_text(phrase('no face', language))}</p>"
        return
    items = "".join(
        f'<li><i style="background:{palette[emotion]}"></i>'
        f"{_text(name_of(emotion, summary, language))}</li>"
        for emotion in used(summary)
    )
    yield f"<ul>{items}</ul>"
    for chart in drawn:
        begin, end = clock(chart.seen.first), clock(chart.seen.last)
        yield (
            f"<section><h2>{_text(chart.title)}</h2>\n<p>{begin} - {end}</p>\n"
            f"{_svg(chart, summary, palette, language)}\n{_table(chart, summary, language)}"
            "</section>"
        )


def counted(summary: Summary, language: str) -> str:
    """How much was seen, in words."""
    faces = str(len(summary.faces)) + "+" * (len(summary.faces) >= MOST_FACES)
    words = (
        f"{clock(summary.seconds)}",
        f"{phrase('frames', language)}: {summary.frames:,}",
        f"{phrase('faces', language)}: {faces}",
    )
    return " · ".join(words)


def _svg(chart: Chart, summary: Summary, palette: Mapping[Emotion, str], language: str) -> str:
    scale = _WIDTH / max(summary.seconds, 1e-9)
    paths: dict[Emotion, list[str]] = {}
    for begin, end, shares in chart.columns:
        bottom = float(_HEIGHT)
        for emotion in summary.emotions:
            height = shares[emotion] * _HEIGHT
            if height > 0:
                bottom -= height
                x, until = f"{begin * scale:.1f}", f"{end * scale:.1f}"
                paths.setdefault(emotion, []).append(
                    f"M{x} {bottom:.1f}H{until}V{bottom + height:.1f}H{x}z"
                )
    areas = "".join(
        f'<path fill="{palette[emotion]}" d="{"".join(path)}">'
        f"<title>{_text(name_of(emotion, summary, language))}</title></path>"
        for emotion, path in paths.items()
    )
    marks = "".join(
        f'<path class="tick" d="M{at * scale:.1f} {_HEIGHT}v5"/>'
        f'<text x="{at * scale:.1f}" y="{_HEIGHT + 8}" text-anchor="{_anchor(at, summary)}">'
        f"{clock(at)}</text>"
        for at in ticks(summary.seconds)
    )
    label = _text(f"{phrase('share of each emotion over time', language)}: {chart.title}")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="{label}">{areas}'
        f'<rect class="frame" x=".5" y=".5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}"/>{marks}'
        "</svg>"
    )


def _anchor(at: float, summary: Summary) -> str:
    """Where a time stands by its mark, so that it stays inside the drawing."""
    share = at / max(summary.seconds, 1e-9)
    return "start" if share < 0.03 else "end" if share > 0.97 else "middle"


def _table(chart: Chart, summary: Summary, language: str) -> str:
    heads = "".join(
        f"<th>{_text(head)}</th>"
        for head in (
            phrase("emotion", language),
            phrase("seconds", language),
            phrase("share", language),
            phrase("times", language),
            phrase("longest", language),
        )
    )
    whole = chart.seen.seconds or 1.0
    rows = "".join(
        f"<tr><td>{_text(name_of(emotion, summary, language))}</td><td>{lasted.seconds:,.1f}</td>"
        f"<td>{lasted.seconds / whole:.0%}</td><td>{lasted.times:,}</td>"
        f"<td>{lasted.longest:,.1f}</td></tr>"
        for emotion in summary.emotions
        if (lasted := chart.seen.lasted.get(emotion)) and lasted.seconds > 0
    )
    return f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>'


def _text(words: str) -> str:
    return html.escape(printable(words))
