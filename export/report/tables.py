"""What export prints in the terminal: a line a step of the ladder, tables of what was measured."""

from collections.abc import Iterator, Sequence

from edgeemo.cli.tables import confusion_lines
from edgeemo.contract.checked.counts import count_of
from edgeemo.proof.evaluation import Scorecard
from export.prove.compare import Comparison
from export.prove.gate import Verdict
from export.prove.layers import Answers, Layer, advised, worst
from export.prove.measurement import Attempt, Measurement
from export.report.words import change, decibels, interval, p_value, percent, points


def attempt_heading() -> str:
    """The heading of `attempt_line`s."""
    return (
        f"{'artifact':<13}{'step':<12}{'bytes':>9}  {'agreement':>9}  {'drop, pp':>8}  "
        f"{'bound':>6}  {'KL':>7}  {'ms/face':>7}  {'took':>6}  on validation"
    )


def attempt_line(attempt: Attempt) -> str:
    """One step of the ladder, its price and what comes of it."""
    others = len(attempt.reasons) - 2
    more = f" (and {count_of(others, 'more reason')})" if others > 0 else ""
    verdict = "passes" if attempt.passed else f"refused: {'; '.join(attempt.reasons[:2])}{more}"
    return (
        f"{attempt.file:<13}{attempt.step:<12}{attempt.bytes:>9,}  "
        f"{percent(attempt.agreement):>9}  {points(attempt.drop):>8}  "
        f"{points(attempt.drop_upper95):>6}  {attempt.mean_kl:>7.5f}  "
        f"{attempt.ms_per_face:>7.3f}  {attempt.seconds:>5.1f}s  {verdict} ({attempt.detail})"
    )


def measurement_lines(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Every artifact against the float model on the test split.

    A table, then the confusion matrices and where they differ.
    """
    full = measurements[0].verdict.float_card
    yield ""
    yield _card("float", full)
    names = tuple(full.per_class_recall)  # in their order, as `score` makes it
    lines = confusion_lines(full.confusion, full.per_class_recall, names)
    yield from (f"  {line}" for line in lines)
    yield ""
    yield (
        f"{'artifact':<13}{'bytes':>9}  {'top-1':>7}  {'macro-F1':>8}  "
        f"{'drop, pp (90 % interval)':>26}  {'agreement':>9}  {'b:c':>7}  {'McNemar':>7}  "
        f"{'KL':>7}  {'ECE':>14}  {'PSNR':>5}"
    )
    for measurement in measurements:
        yield _verdict_line(
            measurement.file, f"{len(measurement.candidate.model):,}", measurement.verdict
        )
        if measurement.exact is not None:
            yield _verdict_line("  in C", "", measurement.exact.verdict)
    for measurement in measurements:
        card = measurement.verdict.card
        difference = [
            [a - b for a, b in zip(*rows, strict=True)]
            for rows in zip(card.confusion, full.confusion, strict=True)
        ]
        if any(map(any, difference)):
            yield ""
            yield f"{measurement.file} less float, in faces, and its recall:"
            lines = confusion_lines(difference, card.per_class_recall, names)
            yield from (f"  {line}" for line in lines)


def _verdict_line(name: str, size: str, verdict: Verdict) -> str:
    drop = verdict.drop
    dropped = f"{points(drop.drop)} ({interval(drop)})"
    ece = f"{verdict.ece_float:.3f} -> {verdict.ece:.3f}"
    return (
        f"{name:<13}{size:>9}  "
        f"{percent(verdict.card.top1):>7}  {percent(verdict.card.macro_f1):>8}  {dropped:>26}  "
        f"{percent(verdict.agreement):>9}  {f'{drop.b}:{drop.c}':>7}  {drop.mcnemar_p:>7.3f}  "
        f"{verdict.mean_kl:>7.5f}  {ece:>14}  {decibels(verdict.psnr_db):>5}"
    )


def layer_lines(layers: Sequence[Layer], count: int, answers: Answers) -> Iterator[str]:
    """All layers in order, the `count` worst ones, and what to do where the answers suffer."""
    marked = worst(list(layers), count)
    width = max(len(layer.name) for layer in layers)
    yield (
        f"  {'layer':<{width}}  {'operator':<18}{'bits':>4}  {'SQNR, dB':>8}  {'adds, %':>8}  "
        f"{'cosine':>8}  {'range':>20}  {'used':>5}  {'cut off':>8}"
    )
    for layer in layers:
        sqnr = "exact" if layer.sqnr_db == float("inf") else f"{layer.sqnr_db:.1f}"
        limits = f"{layer.range_low:.3g} to {layer.range_high:.3g}"
        yield (
            f"{'*' if layer in marked else ' '} {layer.name:<{width}}  {layer.operator:<18}"
            f"{layer.bits:>4}  {sqnr:>8}  {100 * layer.added_noise:>8.4f}  {layer.cosine:>8.5f}  "
            f"{limits:>20}  {layer.range_used:>5.0%}  {layer.saturated:>8.3%}"
        )
    yield ""
    yield f"the {len(marked)} worst, by the noise that they add (% of the signal's power):"
    advice = advised(list(layers), count, answers)
    for rank, layer in enumerate(marked, start=1):
        remedy = advice.get(layer.name)
        yield f"{rank:>3}. {layer.name}: {100 * layer.added_noise:.4f} %" + (
            f"; {remedy}" if remedy else ""
        )
    yield ""
    if not answers.suffer:
        yield f"{answers.words}: nothing to do"
    elif advice:
        yield f"{answers.words}: see the advice above"
    else:
        yield (
            f"{answers.words}: no single layer is loud; python -m training finetune --qat teaches "
            "all of them"
        )


def comparison_lines(titles: Sequence[str], comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Each kind of labels: both bundles, the paired difference, and that of each class's recall."""
    yield f"A: {titles[0]}"
    yield f"B: {titles[1]}"
    for comparison in comparisons:
        a, b, drop = comparison.a, comparison.b, comparison.drop
        yield ""
        yield f"{comparison.labels}, n {a.n:,}: {comparison.verdict}"
        for name, card in (("A", a), ("B", b)):
            yield f"  {name}  {_shares(card)}"
        yield (
            f"  B less A {change(drop)}; only A right {drop.b:,}, only B right {drop.c:,}, "
            f"exact McNemar p {p_value(drop.mcnemar_p)}"
        )
        width = max(9, *map(len, comparison.class_drops))
        for label, of_class in comparison.class_drops.items():
            yield (
                f"    {label:<{width}} n {of_class.n:>5,}  {a.per_class_recall[label]:>6.1%} -> "
                f"{b.per_class_recall[label]:>6.1%}  {change(of_class)}"
            )


def _card(title: str, card: Scorecard) -> str:
    return f"{title} on test: n {card.n:,}  {_shares(card)}"


def _shares(card: Scorecard) -> str:
    low, high = card.interval
    return (
        f"top-1 {percent(card.top1)} (95 % interval {percent(low)} to {percent(high)})  "
        f"macro-F1 {percent(card.macro_f1)}"
    )
