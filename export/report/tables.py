"""What export says in the terminal: a line for each step of the ladder, a table of what was measured."""

from collections.abc import Iterator, Mapping, Sequence

from edgeemo.cli.tables import confusion_lines
from edgeemo.proof.evaluation import PairedDrop, Scorecard
from export.prove.compare import Comparison
from export.prove.ladder import Attempt
from export.prove.layers import Layer, worst
from export.report.report import Measured


def attempt_heading() -> str:
    """The heading of `attempt_line`s."""
    return f"{'artifact':<13}{'step':<11}{'bytes':>9}  {'agreement':>9}  {'drop, pp':>8}  {'bound':>6}  {'KL':>7}  {'ms/face':>7}  {'took':>6}  on validation"


def attempt_line(attempt: Attempt) -> str:
    """One step of the ladder, its price and what comes of it."""
    more = f" (and {len(attempt.reasons) - 2} more reasons)" if len(attempt.reasons) > 2 else ""
    verdict = "passes" if attempt.passed else f"refused: {'; '.join(attempt.reasons[:2])}{more}"
    return (
        f"{attempt.file:<13}{attempt.step:<11}{attempt.bytes:>9,}  {attempt.agreement:>9.2%}  {100 * attempt.drop:>+8.2f}  "
        f"{100 * attempt.drop_upper95:>+6.2f}  {attempt.mean_kl:>7.5f}  {attempt.ms_per_face:>7.3f}  {attempt.seconds:>5.1f}s  "
        f"{verdict} ({attempt.detail})"
    )


def measured_lines(made: Mapping[str, Measured]) -> Iterator[str]:
    """Every artifact against the float model on the test split: a table, then the matrices and where they differ."""
    full = next(iter(made.values())).verdict.float_card
    yield ""
    yield _card("float", full)
    yield from (f"  {line}" for line in confusion_lines(full.confusion, full.per_class_recall))
    yield ""
    yield (
        f"{'artifact':<13}{'bytes':>9}  {'top-1':>7}  {'macro-F1':>8}  {'drop, pp (90 % interval)':>26}  {'agreement':>9}  {'b:c':>7}  "
        f"{'McNemar':>7}  {'KL':>7}  {'ECE':>14}  {'PSNR':>5}"
    )
    for file, measured in made.items():
        verdict, drop = measured.verdict, measured.verdict.drop
        interval = (
            f"{100 * drop.drop:+.2f} ({100 * drop.lower95:+.2f} to {100 * drop.upper95:+.2f})"
        )
        ece = f"{verdict.ece_float:.3f} -> {verdict.ece:.3f}"
        yield (
            f"{file:<13}{len(measured.model):>9,}  {verdict.card.top1:>7.2%}  {verdict.card.macro_f1:>8.2%}  {interval:>26}  "
            f"{verdict.agreement:>9.2%}  {f'{drop.b}:{drop.c}':>7}  {drop.mcnemar_p:>7.3f}  {verdict.mean_kl:>7.5f}  {ece:>14}  "
            f"{_decibels(verdict.psnr_db):>5}"
        )
    for file, measured in made.items():
        card = measured.verdict.card
        change = [
            [a - b for a, b in zip(*rows, strict=True)]
            for rows in zip(card.confusion, full.confusion, strict=True)
        ]
        if any(map(any, change)):
            yield ""
            yield f"{file} less float, in faces, and its recall:"
            yield from (f"  {line}" for line in confusion_lines(change, card.per_class_recall))


def layer_lines(layers: Sequence[Layer], count: int) -> Iterator[str]:
    """All layers in order, then the `count` worst ones with what to do about each."""
    marked = worst(list(layers), count)
    width = max(len(layer.name) for layer in layers)
    yield (
        f"  {'layer':<{width}}  {'operator':<18}{'bits':>4}  {'SQNR, dB':>8}  {'adds, %':>8}  {'cosine':>8}  {'range':>20}  {'used':>5}  {'cut off':>8}"
    )
    for layer in layers:
        sqnr = "exact" if layer.sqnr_db == float("inf") else f"{layer.sqnr_db:.1f}"
        limits = f"{layer.range_low:.3g} to {layer.range_high:.3g}"
        yield (
            f"{'*' if layer in marked else ' '} {layer.name:<{width}}  {layer.operator:<18}{layer.bits:>4}  {sqnr:>8}  "
            f"{100 * layer.added_noise:>8.4f}  {layer.cosine:>8.5f}  {limits:>20}  {layer.range_used:>5.0%}  {layer.saturated:>8.3%}"
        )
    yield ""
    yield f"the {len(marked)} worst, by the noise that they add (% of the signal's power):"
    for rank, layer in enumerate(marked, start=1):
        yield f"{rank:>3}. {layer.name}: {100 * layer.added_noise:.4f} %; {layer.advice}"


def comparison_lines(titles: Sequence[str], found: Sequence[Comparison]) -> Iterator[str]:
    """Each kind of labels: both bundles, the paired difference, and that of each class's recall."""
    yield f"A: {titles[0]}"
    yield f"B: {titles[1]}"
    for comparison in found:
        a, b, drop = comparison.a, comparison.b, comparison.drop
        yield ""
        yield f"{comparison.labels}, n {a.n:,}: {comparison.verdict}"
        for name, card in (("A", a), ("B", b)):
            low, high = card.interval
            yield f"  {name}  top-1 {card.top1:.2%} (95 % interval {low:.2%} to {high:.2%})  macro-F1 {card.macro_f1:.2%}"
        yield (
            f"  B less A {_points(drop)}; only A right {drop.b:,}, only B right {drop.c:,}, exact McNemar p {_p_value(drop.mcnemar_p)}"
        )
        for label, of_class in comparison.class_drops.items():
            yield f"    {label:<9} n {of_class.n:>5,}  {a.per_class_recall[label]:>6.1%} -> {b.per_class_recall[label]:>6.1%}  {_points(of_class)}"


def _p_value(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def _points(drop: PairedDrop) -> str:
    """The change from A to B, which is the drop with its sign turned, with its interval."""
    return f"{-100 * drop.drop:+.2f} pp (90 % interval {-100 * drop.upper95:+.2f} to {-100 * drop.lower95:+.2f})"


def _card(title: str, card: Scorecard) -> str:
    low, high = card.interval
    return f"{title} on test: n {card.n:,}  top-1 {card.top1:.2%} (95 % interval {low:.2%} to {high:.2%})  macro-F1 {card.macro_f1:.2%}"


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"
