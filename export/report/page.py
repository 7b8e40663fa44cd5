"""NAME.report.html: the report for people, one self-contained page.

It shows faces, so it lies beside the bundle and not in it.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.quantize import softmax
from edgeemo.proof.conditions import too_few_pictures
from edgeemo.proof.evaluation import Scorecard, recall_intervals
from export.prove.gate import Verdict
from export.prove.measurement import Measurement
from export.report.words import decibels, interval, percent, points
from export.run import Subject
from workstation import html

_FLIPS = 120  # pictures shown of an artifact
_STYLE = """
:root { --more: 0, 114, 178; --less: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --more: 86, 180, 233; --less: 230, 130, 50; } }
.side { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.good { color: #007a3d; } .bad { color: #c0341d; font-weight: 600; }
@media (prefers-color-scheme: dark) { .good { color: #5fd38d; } .bad { color: #ff8a70; } }
.flips { display: flex; flex-wrap: wrap; gap: .6rem; }
figure { margin: 0; width: 9.5rem; font-size: .78rem; line-height: 1.3; }
figure img { width: 96px; height: 96px; image-rendering: pixelated; display: block; }
"""
_SUMMARY = (
    "artifact",
    "bytes",
    "top-1",
    "macro-F1",
    "drop, pp",
    "90 % interval",
    "agreement",
    "only float right",
    "only this right",
    "McNemar p",
    "mean KL",
    "ECE float",
    "ECE",
    "PSNR of logits, dB",
)
_STEPS = (
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
)


_PRIORS = (
    "artifact",
    "against",
    "prior",
    "top-1",
    "mean recall",
    "macro-F1",
    "expected calibration error",
)


def write_html(
    path: Path,
    name: str,
    report: Mapping[str, Any],
    run: Subject,
    pictures: NDArray[np.uint8],
    measurements: Sequence[Measurement],
) -> None:
    """Write the page in one step.

    `pictures`, uint8 (N, H, W, C), are the test split in the order of the run's logits.
    """
    title = f"{name}: int8 against full precision"
    sections = [
        _headline(report, run, measurements),
        _priors(report, run),
        *(_artifact(run, pictures, measurement) for measurement in measurements),
        _made(report),
    ]
    with written_beside(path) as part:
        part.write_text(html.page(title, sections, _STYLE), encoding="utf-8")


def _headline(report: Mapping[str, Any], run: Subject, measurements: Sequence[Measurement]) -> str:
    refused = [
        f'<p class="bad">{html.text(m.file)} is refused: {html.text("; ".join(m.reasons))}.</p>'
        for m in measurements
        if m.reasons
    ]
    passed = '<p class="good">Every artifact passes the gate.</p>'
    full = measurements[0].verdict
    top1, macro_f1 = percent(full.float_card.top1), percent(full.float_card.macro_f1)
    of_float = ["float", "", top1, macro_f1, *[""] * 7, f"{full.ece_float:.4f}", "", ""]
    rows = [of_float, *(row for one in measurements for row in _summary_rows(one))]
    low, high = full.float_card.interval
    about = (
        f"<p>Network <code>{html.text(str(run.path))}</code>, split {html.text(report['split'])}, "
        f"{count_of(report['n'], 'picture')}. The float model's top-1 is {top1} (95 % interval "
        f"{percent(low)} to {percent(high)}). A drop is float less artifact on the same pictures; "
        f"the gate looks at the upper end of its interval. {html.text(run.note)}</p>"
    )
    table = html.table(_SUMMARY, rows, "Against the float model")
    return (
        ("".join(refused) or passed) + _too_few(report) + about + table + _limits(report["limits"])
    )


def _priors(report: Mapping[str, Any], run: Subject) -> str:
    """What the scores are worth under each prior; "" where the training prior is not known."""
    point = run.operating_point
    if point is None:
        return ""
    shares = ", ".join(
        f"{label} {percent(share)}"
        for label, share in zip(run.class_names, point.prior, strict=True)
    )
    rows = [
        [
            title,
            what.replace("_", " "),
            prior,
            *map(percent, list(at.values())[:3]),
            f"{at['ece']:.3f}",
        ]
        for title, part in (("float", report["float"]), *report["artifacts"].items())
        for what, by in part["by_prior"].items()
        for prior, at in by.items()
    ]
    return html.section(
        "Scores by prior",
        html.paragraph(
            f"Trained under the prior {shares}. Scores are divided by a temperature of "
            f"{point.temperature:.2f}, and {percent(point.adjustment)} of the log prior is taken "
            "off (default); training: none of it; balanced: all. Chosen on validation."
        ),
        html.table(_PRIORS, rows, "On the test split"),
    )


def _too_few(report: Mapping[str, Any]) -> str:
    """A paragraph where less pictures were judged by than the gate asks for, or ""."""
    few = too_few_pictures(report["n"])
    if not few:
        return ""
    return (
        f'<p class="bad">By --gate-min {few}: too few to show a drop in top-1 of less than 1 %, '
        "even where not one is lost.</p>"
    )


def _summary_rows(measurement: Measurement) -> Iterator[list[str]]:
    size = f"{len(measurement.candidate.model):,}"
    yield _summary_row(measurement.file, size, measurement.verdict)
    if measurement.exact is not None:
        name = f"{measurement.file} on a microcontroller ({measurement.exact.by})"
        yield _summary_row(name, "", measurement.exact.verdict)


def _summary_row(name: str, size: str, verdict: Verdict) -> list[str]:
    drop = verdict.drop
    return [
        name,
        size,
        percent(verdict.card.top1),
        percent(verdict.card.macro_f1),
        points(drop.drop),
        interval(drop),
        percent(verdict.agreement),
        str(drop.b),
        str(drop.c),
        f"{drop.mcnemar_p:.3f}",
        f"{verdict.mean_kl:.5f}",
        f"{verdict.ece_float:.4f}",
        f"{verdict.ece:.4f}",
        decibels(verdict.psnr_db),
    ]


def _limits(limits: Mapping[str, float]) -> str:
    rows = [[name.replace("_", " "), f"{value:g}"] for name, value in limits.items()]
    return html.details("The gate's limits", html.table(["limit", "value"], rows))


def _artifact(run: Subject, pictures: NDArray[np.uint8], measurement: Measurement) -> str:
    verdict, names = measurement.verdict, run.class_names
    detail = measurement.candidate.detail or "not quantized"
    parts = [
        html.paragraph(
            f"{detail}; {measurement.seconds:.2f} s for "
            f"{count_of(verdict.card.n, 'picture')} on the building machine."
        )
    ]
    if measurement.attempts:
        parts.append(_ladder(measurement))
    matrices = [
        _matrix("float", verdict.float_card, names),
        _matrix(measurement.file, verdict.card, names),
        _difference(verdict.float_card, verdict.card, names),
    ]
    parts.append(f'<div class="side">{"".join(matrices)}</div>')
    parts.append(_recalls(measurement, names))
    parts.append(_flips(run, pictures, measurement))
    return html.section(measurement.file, *parts)


def _ladder(measurement: Measurement) -> str:
    rows = [
        [
            attempt.step,
            attempt.file,
            attempt.detail,
            f"{attempt.bytes:,}",
            percent(attempt.agreement),
            points(attempt.drop),
            points(attempt.drop_upper95),
            f"{attempt.mean_kl:.5f}",
            f"{attempt.ms_per_face:.3f}",
            f"{attempt.seconds:g}",
            "passes" if attempt.passed else "; ".join(attempt.reasons),
        ]
        for attempt in measurement.attempts
    ]
    return html.table(_STEPS, rows, "Steps, on the validation split")


def _matrix(title: str, card: Scorecard, names: Sequence[str]) -> str:
    def cell(count: int, row: Sequence[int]) -> str:
        return _cell("heat", count / max(sum(row), 1), str(count))

    caption = f"{title}: rows true, columns predicted"
    return _matrix_table(caption, names, card.confusion, cell)


def _difference(full: Scorecard, card: Scorecard, names: Sequence[str]) -> str:
    change = np.array(card.confusion) - np.array(full.confusion)
    largest = max(int(np.abs(change).max()), 1)

    def cell(count: int, _: Sequence[int]) -> str:
        if not count:
            return "<td>0</td>"
        return _cell("more" if count > 0 else "less", abs(count) / largest, f"{count:+d}")

    caption = "difference, artifact less float, in pictures"
    return _matrix_table(caption, names, change.tolist(), cell)


def _cell(colour: str, share: float, text: str) -> str:
    """A cell whose background is the deeper, the larger the share 0..1."""
    return f'<td style="background: rgba(var(--{colour}), {0.75 * share:.2f})">{text}</td>'


def _matrix_table(
    caption: str,
    names: Sequence[str],
    counts: Sequence[Sequence[int]],
    cell: Callable[[int, Sequence[int]], str],
) -> str:
    head = "".join(f"<th>{html.text(name)}</th>" for name in names)
    rows = "".join(
        f'<tr><th class="text">{html.text(name)}</th>{"".join(cell(n, row) for n in row)}</tr>'
        for name, row in zip(names, counts, strict=True)
    )
    return (
        f'<div class="wide"><table><caption>{html.text(caption)}</caption>'
        f"<tr><th></th>{head}</tr>{rows}</table></div>"
    )


def _recalls(measurement: Measurement, names: Sequence[str]) -> str:
    verdict = measurement.verdict
    cards = verdict.float_card, verdict.card
    intervals = [recall_intervals(np.array(card.confusion), names) for card in cards]
    rows = []
    for i, name in enumerate(names):
        if name not in verdict.class_drops:
            continue
        drop = verdict.class_drops[name]
        row = [name, f"{sum(cards[0].confusion[i]):,}"]
        for card, of_class in zip(cards, intervals, strict=True):
            low, high = of_class[name] or (0.0, 0.0)
            row += [
                percent(card.per_class_recall[name] or 0.0),
                f"{100 * low:.1f} to {100 * high:.1f}",
            ]
        rows.append([*row, points(drop.drop), interval(drop)])
    ours = f"{measurement.file} recall"
    head = ["class", "pictures", "float recall", "95 % interval", ours, "95 % interval"]
    return html.table([*head, "drop, pp", "90 % interval"], rows, "Recall of each class")


def _flips(run: Subject, pictures: NDArray[np.uint8], measurement: Measurement) -> str:
    """The pictures whose top label changed, those first of which the float model was surest."""
    scores = softmax(run.logits), softmax(measurement.logits)
    tops = [one.argmax(axis=1) for one in scores]
    flipped = np.flatnonzero(tops[0] != tops[1])
    order = flipped[np.argsort(-scores[0][flipped].max(axis=1), kind="stable")]
    if not len(order):
        return "<p>No picture changed its label.</p>"
    shown = "".join(
        _flip(pictures[i], run.class_names, int(run.labels[i]), [one[i] for one in scores])
        for i in order[:_FLIPS]
    )
    more = f" ({_FLIPS} shown)" if len(order) > _FLIPS else ""
    heading = f"<h3>{count_of(len(order), 'picture')} with another label{more}</h3>"
    return f'{heading}<div class="flips">{shown}</div>'


def _flip(
    picture: NDArray[np.uint8],
    names: Sequence[str],
    label: int,
    scores: Sequence[NDArray[np.float32]],
) -> str:
    lines = [f"true: {html.text(names[label])}"]
    for whose, of_classes in zip(("float", "this"), scores, strict=True):
        first, second = (int(i) for i in np.argsort(-of_classes)[:2])
        mark = "good" if first == label else "bad"
        lines.append(
            f'{whose}: <span class="{mark}">{html.text(names[first])} '
            f"{of_classes[first]:.0%}</span>, "
            f"{html.text(names[second])} {of_classes[second]:.0%}"
        )
    image = html.image(_png(picture), names[label])
    return f"<figure>{image}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _png(picture: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 1) or (H, W, 3) as a PNG."""
    rgb = np.broadcast_to(picture, (*picture.shape[:2], 3))
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, rgb, format="png", origin="upper")  # whatever matplotlibrc says
    return buffer.getvalue()


def _made(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["made_with"].items())
    return html.section("Made with", html.paragraph(versions))
