"""The shipped family in one table: bytes, activations, time beside a peer, accuracy.

python -m benchmarks.models.family prepared/ ../shared/peers/mini_xception_int8.tflite [BUNDLE...]

Accuracy is of int8 and of float, against both kinds of labels, on the test split, single crop, with
95 % Wilson intervals; flip averaging (the mean of the logits of a picture and its mirror image)
stands beside it. The FER+ majority counts faces on which more than half of the taggers agree. Times
are of inference alone on one thread, all models and the peer in turn, as ratios to the peer.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.models.beside_peer import open_peer
from edgeemo.backends import open_backend
from edgeemo.cli.bench import alternate, summary
from edgeemo.cli.shell import say
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.manifest import Artifact, Format, Precision
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared, prepared_files
from edgeemo.models import shipped_models
from edgeemo.proof.evaluation import PairedDrop, paired_drop, score
from edgeemo.proof.standings import standings
from edgeemo.recognizer import load_bundle
from export.report.words import percent, points
from workstation.progress import counted

_COLUMNS = (
    "model",
    "int8 bytes",
    "activations",
    "MACs",
    "time",
    "FER-2013 labels, top-1",
    "macro-F1",
    "flip",
    "FER+ majority, top-1",
    "flip",
    "float to int8, pp",
)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("peer", type=click.Path(path_type=Path))
@click.argument("bundles", nargs=-1)
@click.option("--split", default="test", show_default=True, help="Which pictures.")
@click.option("--runs", default=2000, show_default=True, help="Timed inferences of each model.")
@click.option("--markdown", is_flag=True, help="The tables of MODEL_CARD.md instead of lines.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write everything here."
)
def main(
    data: Path,
    peer: Path,
    bundles: tuple[str, ...],
    split: str,
    runs: int,
    markdown: bool,
    json_path: Path | None,
) -> None:
    """Measure BUNDLES, by default all that ship, on a prepared folder."""
    if json_path:
        check_output(json_path, (*prepared_files(data), peer, *bundles))
    opened = {name: load_bundle(name) for name in bundles or shipped_models()}
    first = next(iter(opened.values()))
    prepared = load_prepared(data, first.spec, first.labels)
    rows = prepared.indices(split)
    pictures = np.asarray(prepared.images[rows])
    table = {name: measured(bundle, prepared, rows) for name, bundle in opened.items()}
    run_peer, predicted = open_peer(peer, pictures, prepared.class_names)
    truths = _truths(prepared, rows)
    names = prepared.class_names
    table[peer.name] = {
        "bytes": peer.stat().st_size,
        "int8": {key: _top1(predicted, *truth, names) for key, truth in truths.items()},
    }
    for row, ratio in zip(
        table.values(), _ratios(opened, run_peer, pictures[:1], runs), strict=True
    ):
        row |= ratio
    lines = _markdown(table, names) if markdown else itertools.starmap(_line, table.items())
    say(*lines)
    if json_path:
        with written_beside(json_path) as part:
            part.write_text(strict.dumps({"split": split, "n": len(rows), "models": table}))


def measured(bundle: Bundle, data: Prepared, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What one bundle's int8 TFLite and float model get on the rows of a prepared folder."""
    manifest, names = bundle.manifest, data.class_names
    files = {"int8": int8_tflite(bundle), "float": _float_onnx(bundle)}
    row: dict[str, Any] = {
        "bytes": int8_tflite(bundle).bytes,
        "activations": manifest.tensor_arena_bytes,
        "parameters": manifest.training["parameters"],
        "multiply_accumulates": manifest.training["multiply_accumulates"],
    }
    pictures, truths = np.asarray(data.images[rows]), _truths(data, rows)
    answers = {}
    for key, artifact in files.items():
        if artifact is None:
            continue
        plain, mirrored = (
            _logits(bundle, artifact.file, batch) for batch in (pictures, pictures[:, :, ::-1])
        )
        answers[key], flipped = plain.argmax(axis=1), (plain + mirrored).argmax(axis=1)
        row[key] = {name: _top1(answers[key], *truth, names) for name, truth in truths.items()}
        if key == "int8":
            row["by_prior"] = {
                name: {prior: asdict(at) for prior, at in by.items()}
                for name, (truth, known) in truths.items()
                for by in [standings(plain[known], truth[known], manifest.operating_point, names)]
            }
        row[key] |= {
            f"{name}_flipped": _top1(flipped, *truth, names) for name, truth in truths.items()
        }
    if len(answers) == len(files):
        full, int8 = answers["float"], answers["int8"]
        row["agreement"] = float((full == int8).mean())
        row["drop"] = {
            name: _drop(paired_drop((full == truth)[known], (int8 == truth)[known]))
            for name, (truth, known) in truths.items()
        }
    return row


def int8_tflite(bundle: Bundle) -> Artifact:
    """The bundle's quantized TFLite model."""
    return next(
        artifact
        for artifact in bundle.manifest.artifacts
        if artifact.format is Format.TFLITE and artifact.precision.is_integer
    )


def _float_onnx(bundle: Bundle) -> Artifact | None:
    models = (
        artifact
        for artifact in bundle.manifest.artifacts
        if artifact.format is Format.ONNX and artifact.precision is Precision.FP32
    )
    return next(models, None)


def _truths(
    data: Prepared, rows: NDArray[np.int64]
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    truths = {"fer2013": (data.labels[rows], np.ones(len(rows), bool))}
    if data.votes is not None:
        truths["ferplus"] = ferplus_majority(group_votes(data)[rows], data.class_names)
    return truths


def _logits(bundle: Bundle, file: str, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    backend = open_backend(bundle, file)
    starts = counted(range(0, len(pictures), 64), f"{bundle.manifest.name} {file}", "batches")
    return np.concatenate(
        [backend.infer(np.ascontiguousarray(pictures[i : i + 64])) for i in starts]
    )


def _top1(
    predicted: NDArray[np.int64],
    truth: NDArray[np.int64],
    known: NDArray[np.bool_],
    class_names: Sequence[str],
) -> dict[str, Any]:
    card = score(truth[known], predicted[known], class_names)
    return {
        "n": card.n,
        "top1": card.top1,
        "interval": card.interval,
        "macro_f1": card.macro_f1,
        "per_class_recall": card.per_class_recall,
    }


def _drop(paired: PairedDrop) -> dict[str, float]:
    return {
        "drop": paired.drop,
        "lower95": paired.lower95,
        "upper95": paired.upper95,
        "mcnemar_p": paired.mcnemar_p,
    }


def _ratios(
    bundles: dict[str, Bundle], run_peer: Callable[[], object], face: NDArray[np.uint8], runs: int
) -> list[dict[str, float]]:
    """p50 in ms of each bundle and of the peer at the end, and its ratio to the peer's."""
    backends = [open_backend(bundle, int8_tflite(bundle).file) for bundle in bundles.values()]
    calls: list[Callable[[], object]] = [partial(backend.infer, face) for backend in backends]
    times = [summary(measured)["p50"] for measured in alternate([*calls, run_peer], runs)]
    return [{"p50_ms": time, "ratio": time / times[-1]} for time in times]


def _line(name: str, row: dict[str, Any]) -> str:
    parts = [
        f"{name:<28} {row['bytes']:>9,} bytes  {row['p50_ms']:.3f} ms, "
        f"{row['ratio']:.2f} of the peer's"
    ]
    for kind in ("int8", "float"):
        for key, card in row.get(kind, {}).items():
            low, high = card["interval"]
            parts.append(
                f"  {kind:<5} {key:<16} {percent(card['top1'])} ({percent(low)} to "
                f"{percent(high)}) of {card['n']:,}"
            )
    for key, drop in row.get("drop", {}).items():
        parts.append(
            f"  float to int8 {key}: {points(drop['drop'])} pp (90 % {points(drop['lower95'])} to "
            f"{points(drop['upper95'])}), agreement {percent(row['agreement'])}"
        )
    return "\n".join(parts)


def _markdown(table: dict[str, dict[str, Any]], class_names: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|" + "---|" * len(_COLUMNS)
    for name, row in table.items():
        cells = [
            f"`{name}`",
            f"{row['bytes']:,}",
            f"{row['activations']:,}" if "activations" in row else "",
        ]
        cells += [
            f"{row['multiply_accumulates'] / 1e6:.1f} M" if "drop" in row else "",
            f"{row['ratio']:.2f}x",
        ]
        int8 = row["int8"]
        cells += [
            _share(int8["fer2013"]),
            f"{int8['fer2013']['macro_f1']:.1%}",
            _flip(int8, "fer2013"),
        ]
        cells += [_share(int8["ferplus"]), _flip(int8, "ferplus")]
        drops = [f"{key} {points(-drop['drop'])}" for key, drop in row.get("drop", {}).items()]
        yield "| " + " | ".join([*cells, ", ".join(drops)]) + " |"
    yield ""
    yield "| int8 on the FER+ majority | prior | top-1 | mean recall | macro-F1 | ECE |"
    yield "|---|---|---|---|---|---|"
    for name, row in table.items():
        for prior, at in row.get("by_prior", {}).get("ferplus", {}).items():
            shares = " | ".join(percent(at[key]) for key in ("top1", "mean_recall", "macro_f1"))
            yield f"| `{name}` | {prior} | {shares} | {at['ece']:.3f} |"
    yield ""
    yield "| int8 recall | " + " | ".join(f"{label}" for label in class_names) + " |"
    yield "|---|" + "---|" * len(class_names)
    for name, row in table.items():
        for key in ("fer2013", "ferplus"):
            recall = row["int8"][key]["per_class_recall"]
            yield (
                f"| `{name}`, {key} | "
                + " | ".join(f"{recall[label]:.1%}" for label in class_names)
                + " |"
            )


def _share(card: dict[str, Any]) -> str:
    low, high = card["interval"]
    return f"{percent(card['top1'])} ({100 * low:.1f} to {100 * high:.1f})"


def _flip(cards: dict[str, dict[str, Any]], key: str) -> str:
    card = cards.get(f"{key}_flipped")
    return percent(card["top1"]) if card else ""


if __name__ == "__main__":
    main()
