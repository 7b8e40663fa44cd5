"""NAME.report.html: the report for people, one self-contained page. It shows faces, so it lies beside the bundle and not in it."""

import base64
import html
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.proof.evaluation import Scorecard, recall_intervals
from export.report.report import Measured
from export.run import FloatRun

_FLIPS = 120  # pictures shown of an artifact
_STYLE = """
:root { color-scheme: light dark; --line: #d8dee6; --heat: 0, 114, 178; --more: 0, 114, 178; --less: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4450; --heat: 86, 180, 233; --more: 86, 180, 233; --less: 230, 130, 50; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--line); } .wide { overflow-x: auto; }
.side { display: flex; flex-wrap: wrap; gap: 0 2rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding: .2rem 0; font-weight: 600; } th, td { padding: .2rem .55rem; text-align: right; }
tr { border-bottom: 1px solid var(--line); } td.text, th.text { text-align: left; }
.good { color: #007a3d; } .bad { color: #c0341d; font-weight: 600; }
@media (prefers-color-scheme: dark) { .good { color: #5fd38d; } .bad { color: #ff8a70; } }
.flips { display: flex; flex-wrap: wrap; gap: .6rem; } figure { margin: 0; width: 9.5rem; font-size: .78rem; line-height: 1.3; }
figure img { width: 96px; height: 96px; image-rendering: pixelated; display: block; }
summary { cursor: pointer; } code { overflow-wrap: anywhere; }
"""


def write_html(
    path: Path,
    name: str,
    report: Mapping[str, Any],
    run: FloatRun,
    pictures: NDArray[np.uint8],
    made: Mapping[str, Measured],
) -> None:
    """Write the page in one step: `pictures` uint8 (N, 48, 48, 1) are the test split, in the order of the run's logits."""
    title = f"{name}: int8 against full precision"
    sections = [
        _headline(report, run, made),
        *(_artifact(run, pictures, measured) for measured in made.values()),
        _made(report),
    ]
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>\n<h1>{_text(title)}</h1>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )
    with written_beside(path) as part:
        part.write_text(text, encoding="utf-8")


def _headline(report: Mapping[str, Any], run: FloatRun, made: Mapping[str, Measured]) -> str:
    refused = {file: measured.reasons for file, measured in made.items() if measured.reasons}
    verdict = (
        '<p class="good">Every artifact passes the gate.</p>'
        if not refused
        else "".join(
            f'<p class="bad">{_text(file)} is refused: {_text("; ".join(why))}.</p>'
            for file, why in refused.items()
        )
    )
    head = ["artifact", "bytes", "top-1", "macro-F1", "drop, pp", "90 % interval", "agreement", "only float right", "only this right",
            "McNemar p", "mean KL", "ECE float", "ECE", "PSNR of logits, dB"]  # fmt: skip
    full = next(iter(made.values())).verdict
    rows = [
        [
            "float",
            "",
            _share(full.float_card.top1),
            _share(full.float_card.macro_f1),
            *[""] * 7,
            f"{full.ece_float:.4f}",
            "",
            "",
        ]
    ]
    for file, measured in made.items():
        v, drop = measured.verdict, measured.verdict.drop
        rows.append([
            file, f"{len(measured.model):,}", _share(v.card.top1), _share(v.card.macro_f1), f"{100 * drop.drop:+.2f}",
            f"{100 * drop.lower95:+.2f} to {100 * drop.upper95:+.2f}", _share(v.agreement), str(drop.b), str(drop.c),
            f"{drop.mcnemar_p:.3f}", f"{v.mean_kl:.5f}", f"{v.ece_float:.4f}", f"{v.ece:.4f}",
            "equal" if v.psnr_db is None else f"{v.psnr_db:.1f}",
        ])  # fmt: skip
    low, high = full.float_card.interval
    told = (
        f"<p>Run <code>{_text(str(run.path))}</code>, split {_text(report['split'])}, {report['n']:,} pictures. The float model's top-1 is "
        f"{_share(full.float_card.top1)} (95 % interval {_share(low)} to {_share(high)}). A drop is float less artifact on the same "
        f"pictures; the gate looks at the upper end of its interval. {run.seen}</p>"
    )
    return (
        verdict + told + _table("Against the float model", head, rows) + _limits(report["limits"])
    )


def _limits(limits: Mapping[str, float]) -> str:
    rows = [[name.replace("_", " "), f"{value:g}"] for name, value in limits.items()]
    return f"<details><summary>The gate's limits</summary>{_table('', ['limit', 'value'], rows)}</details>"


def _artifact(run: FloatRun, pictures: NDArray[np.uint8], measured: Measured) -> str:
    verdict = measured.verdict
    parts = [
        f"<p>{_text(measured.detail or 'not quantized')}; {measured.seconds:g} s for {verdict.card.n:,} pictures on the building machine.</p>"
    ]
    if measured.attempts:
        parts.append(_ladder(measured))
    matrices = [
        _matrix("float", verdict.float_card),
        _matrix(measured.file, verdict.card),
        _difference(verdict.float_card, verdict.card),
    ]
    parts.append(f'<div class="side">{"".join(matrices)}</div>')
    parts.append(_recalls(measured))
    parts.append(_flips(run, pictures, measured))
    return f"<section><h2>{_text(measured.file)}</h2>\n" + "\n".join(parts) + "\n</section>"


def _ladder(measured: Measured) -> str:
    head = [
        "step",
        "file",
        "what",
        "bytes",
        "agreement",
        "drop, pp",
        "bound",
        "mean KL",
        "ms/face",
        "seconds",
        "verdict",
    ]
    rows = [
        [a.step, a.file, a.detail, f"{a.bytes:,}", _share(a.agreement), f"{100 * a.drop:+.2f}", f"{100 * a.drop_upper95:+.2f}",
         f"{a.mean_kl:.5f}", f"{a.ms_per_face:.3f}", f"{a.seconds:g}", "passes" if a.passed else "; ".join(a.reasons)]
        for a in measured.attempts
    ]  # fmt: skip
    return _table("Steps, on the validation split", head, rows, text_columns=(0, 1, 2, 10))


def _matrix(title: str, card: Scorecard) -> str:
    def cells() -> Iterator[str]:
        for label, row in zip(LABELS, card.confusion, strict=True):
            total = max(sum(row), 1)
            shaded = (
                f'<td style="background: rgba(var(--heat), {0.75 * n / total:.2f})">{n}</td>'
                for n in row
            )
            yield f'<tr><th class="text">{label}</th>{"".join(shaded)}</tr>'

    return _matrix_table(f"{title}: rows true, columns predicted", cells())


def _difference(full: Scorecard, card: Scorecard) -> str:
    change = np.array(card.confusion) - np.array(full.confusion)
    largest = max(int(np.abs(change).max()), 1)

    def cells() -> Iterator[str]:
        for label, row in zip(LABELS, change.tolist(), strict=True):
            shaded = (
                f'<td style="background: rgba(var(--{"more" if n > 0 else "less"}), {0.75 * abs(n) / largest:.2f})">{n:+d}</td>'
                if n
                else "<td>0</td>"
                for n in row
            )
            yield f'<tr><th class="text">{label}</th>{"".join(shaded)}</tr>'

    return _matrix_table("difference, artifact less float, in pictures", cells())


def _matrix_table(caption: str, rows: Iterable[str]) -> str:
    head = "".join(f"<th>{label}</th>" for label in LABELS)
    return f'<div class="wide"><table><caption>{_text(caption)}</caption><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _recalls(measured: Measured) -> str:
    verdict = measured.verdict
    cards = verdict.float_card, verdict.card
    intervals = [recall_intervals(np.array(card.confusion)) for card in cards]
    rows = []
    for i, label in enumerate(LABELS):
        if label not in verdict.class_drops:
            continue
        drop = verdict.class_drops[label]
        row = [label, f"{sum(cards[0].confusion[i]):,}"]
        for card, interval in zip(cards, intervals, strict=True):
            low, high = interval[label] or (0.0, 0.0)
            row += [
                _share(card.per_class_recall[label] or 0.0),
                f"{100 * low:.1f} to {100 * high:.1f}",
            ]
        rows.append(
            [
                *row,
                f"{100 * drop.drop:+.2f}",
                f"{100 * drop.lower95:+.2f} to {100 * drop.upper95:+.2f}",
            ]
        )
    head = [
        "class",
        "pictures",
        "float recall",
        "95 % interval",
        f"{measured.file} recall",
        "95 % interval",
        "drop, pp",
        "90 % interval",
    ]
    return _table("Recall of each class", head, rows)


def _flips(run: FloatRun, pictures: NDArray[np.uint8], measured: Measured) -> str:
    """The pictures whose top label changed, those first of which the float model was surest."""
    scores = softmax(run.logits), softmax(measured.logits)
    tops = [said.argmax(axis=1) for said in scores]
    flipped = np.flatnonzero(tops[0] != tops[1])
    order = flipped[np.argsort(-scores[0][flipped].max(axis=1), kind="stable")]
    if not len(order):
        return "<p>No picture changed its label.</p>"
    shown = "".join(
        _flip(pictures[i], LABELS[run.labels[i]], [said[i] for said in scores])
        for i in order[:_FLIPS]
    )
    more = f" ({_FLIPS} shown)" if len(order) > _FLIPS else ""
    return (
        f'<h3>{len(order)} pictures changed their label{more}</h3><div class="flips">{shown}</div>'
    )


def _flip(picture: NDArray[np.uint8], truth: str, said: Sequence[NDArray[np.float32]]) -> str:
    lines = [f"true: {truth}"]
    for whose, scores in zip(("float", "this"), said, strict=True):
        label = LABELS[int(scores.argmax())]
        mark = "good" if label == truth else "bad"
        others = ", ".join(f"{LABELS[i]} {scores[i]:.0%}" for i in np.argsort(-scores)[1:2])
        lines.append(f'{whose}: <span class="{mark}">{label} {scores.max():.0%}</span>, {others}')
    return f'<figure><img alt="{_text(truth)}" src="data:image/png;base64,{_png(picture)}"><figcaption>{"<br>".join(lines)}</figcaption></figure>'


def _png(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture[..., 0], cmap="gray", vmin=0, vmax=255, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def _made(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["made_with"].items())
    return f"<section><h2>Made with</h2><p>{_text(versions)}</p></section>"


def _table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    text_columns: Sequence[int] = (0,),
) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        kinds = (' class="text"' if i in text_columns else "" for i in range(len(cells)))
        return (
            "<tr>"
            + "".join(
                f"<{tag}{kind}>{_text(cell)}</{tag}>"
                for kind, cell in zip(kinds, cells, strict=True)
            )
            + "</tr>"
        )

    body = row("th", head) + "".join(row("td", cells) for cells in rows)
    return f'<div class="wide"><table><caption>{_text(caption)}</caption>{body}</table></div>'


def _share(value: float) -> str:
    return f"{value:.2%}"


def _text(text: str) -> str:
    return html.escape(text)
