"""Emotion over time as a picture, drawn with Pillow."""

import io
from typing import Any

from edgeemo.cli.summary.drawn import charts, clock, colours, name_of, ticks, used
from edgeemo.cli.summary.page import counted
from edgeemo.contract.checked.text import printable
from edgeemo.contract.languages import phrase
from edgeemo.drawing import drawable, drawable_text, font
from edgeemo.live.summary import Summary
from edgeemo.optional import need

_WIDTH, _EDGE = 1280, 40  # pixels
_CHART, _GAP = 110, 62  # height of a chart, and from one to the next
_TITLE, _WORDS, _SMALL = 26, 18, 14  # sizes of letters
_INK, _SOFT, _LINE, _PAPER = "#1c2430", "#5a6675", "#c4ccd6", "#ffffff"


def png(summary: Summary, title: str, language: str) -> bytes:
    """The bytes of a PNG, 1280 pixels wide, as high as its faces need.

    Raises:
        MissingDependency: Pillow is not installed.
    """
    image = need("PIL.Image", "pictures", "to draw a summary", called="Pillow")
    drawing = need("PIL.ImageDraw", "pictures", "to draw a summary", called="Pillow")
    drawn = charts(summary, language)
    height = 150 + max(1, len(drawn)) * (_CHART + _GAP)
    canvas = image.new("RGB", (_WIDTH, height), _PAPER)
    pen = drawing.Draw(canvas)
    heading = f"{phrase('Emotion over time', language)}: {title}"
    _write(pen, (_EDGE, 24), _short(heading, 80), _TITLE, _INK)
    _write(pen, (_EDGE, 62), counted(summary, language), _WORDS, _SOFT)
    _legend(pen, summary, language)
    top = 150
    for chart in drawn:
        _write(pen, (_EDGE, top - 24), chart.title, _WORDS, _INK)
        _bars(pen, chart.columns, summary, top)
        top += _CHART + _GAP
    if not drawn:
        _write(pen, (_EDGE, top), phrase("no face", language), _WORDS, _INK)
    data = io.BytesIO()
    canvas.save(data, "PNG")
    return data.getvalue()


def _legend(pen: Any, summary: Summary, language: str) -> None:
    palette, x, y = colours(summary), _EDGE, 94
    names = {emotion: name_of(emotion, summary, language) for emotion in summary.emotions}
    for emotion in used(summary):
        name = _short(drawable(names[emotion], list(names.values())), 24)
        pen.rectangle((x, y + 4, x + 13, y + 17), fill=palette[emotion])
        _write(pen, (x + 20, y), name, _WORDS, _INK)
        x += 44 + round(pen.textlength(name, font=font(_WORDS)))
        if x > _WIDTH - 200:
            break  # more labels than a line takes; the page and the table have them all


def _bars(pen: Any, columns: Any, summary: Summary, top: int) -> None:
    palette, width = colours(summary), _WIDTH - 2 * _EDGE
    scale = width / max(summary.seconds, 1e-9)
    for begin, end, shares in columns:
        bottom = top + float(_CHART)
        left, right = _EDGE + begin * scale, _EDGE + end * scale
        for emotion in summary.emotions:
            if shares[emotion] > 0:
                above = bottom - shares[emotion] * _CHART
                area = (
                    round(left),
                    round(above),
                    max(round(left), round(right) - 1),
                    round(bottom),
                )
                pen.rectangle(area, fill=palette[emotion])
                bottom = above
    pen.rectangle((_EDGE, top, _EDGE + width, top + _CHART), outline=_LINE)
    for at in ticks(summary.seconds):
        x = _EDGE + round(at * scale)
        pen.line((x, top + _CHART, x, top + _CHART + 5), fill=_LINE)
        _write(pen, (x, top + _CHART + 7), clock(at), _SMALL, _SOFT, anchor="ma")


def _write(
    pen: Any, at: tuple[int, int], text: str, size: int, colour: str, anchor: str = "la"
) -> None:
    pen.text(at, drawable_text(printable(text)), font=font(size), fill=colour, anchor=anchor)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
