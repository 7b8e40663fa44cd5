"""The shipped family in one table: bytes, activations, time beside a peer, and accuracy of int8 and float on both kinds of labels.

python -m benchmarks.family prepared/ ../shared/peers/mini_xception_int8.tflite [BUNDLE...] [--json OUT.json]

Accuracy is of the test split, single crop, with 95 % Wilson intervals; flip averaging (the mean of the logits of a picture and
its mirror image) stands beside it. The FER+ majority counts faces on which more than half of the taggers agree. Times are of
inference alone on one thread, all models and the peer in turns, as ratios to the peer.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.beside_peer import open_peer
from edgeemo.backends import open_backend
from edgeemo.cli.bench import alternate, summary
from edgeemo.contract import strict
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.models import shipped_models
from edgeemo.proof.evaluation import PairedDrop, paired_drop, score
from edgeemo.recognizer import load_bundle


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
    opened = {name: load_bundle(name) for name in bundles or shipped_models()}
    prepared = load_prepared(data, next(iter(opened.values())).manifest.input_spec)
    rows = prepared.indices(split)
    pictures = np.asarray(prepared.images[rows])
    found = {name: measured(bundle, prepared, rows) for name, bundle in opened.items()}
    run_peer, predicted = open_peer(peer, pictures)
    truths = _truths(prepared, rows)
    found[peer.name] = {
        "bytes": peer.stat().st_size, "int8": {key: _top1(predicted, *truth) for key, truth in truths.items()},
    }  # fmt: skip
    for row, ratio in zip(
        found.values(), _ratios(opened, run_peer, pictures[:1], runs), strict=True
    ):
        row |= ratio
    click.echo("\n".join(_markdown(found) if markdown else itertools.starmap(_line, found.items())))
    if json_path:
        with written_beside(json_path) as part:
            part.write_text(strict.dumps({"split": split, "n": len(rows), "models": found}))


def measured(bundle: Bundle, data: Prepared, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What one bundle's int8.tflite and float model get on the rows of a prepared folder."""
    manifest = bundle.manifest
    result: dict[str, Any] = {
        "bytes": manifest.artifact("int8.tflite").bytes,
        "activations": manifest.tensor_arena_bytes,
        "parameters": manifest.training["parameters"],
        "multiply_accumulates": manifest.training["multiply_accumulates"],
    }
    pictures, truths = np.asarray(data.images[rows]), _truths(data, rows)
    logits = {
        artifact.file: [
            _logits(bundle, artifact.file, batch) for batch in (pictures, pictures[:, :, ::-1])
        ]
        for artifact in manifest.artifacts
        if artifact.file in ("int8.tflite", "fp32.onnx")
    }
    for file, key in (("int8.tflite", "int8"), ("fp32.onnx", "float")):
        if file in logits:
            plain, flipped = logits[file][0], logits[file][0] + logits[file][1]
            result[key] = {
                name: _top1(plain.argmax(axis=1), *truth) for name, truth in truths.items()
            }
            result[key] |= {
                f"{name}_flipped": _top1(flipped.argmax(axis=1), *truth)
                for name, truth in truths.items()
            }
    if len(logits) == 2:
        full, int8 = (logits[file][0].argmax(axis=1) for file in ("fp32.onnx", "int8.tflite"))
        result["agreement"] = float((full == int8).mean())
        result["drop"] = {
            name: _drop(paired_drop((full == truth)[known], (int8 == truth)[known]))
            for name, (truth, known) in truths.items()
        }
    return result


def _truths(
    data: Prepared, rows: NDArray[np.int64]
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    truths = {"fer2013": (data.labels[rows], np.ones(len(rows), bool))}
    if data.votes is not None:
        truths["ferplus"] = ferplus_majority(group_votes(data)[rows])
    return truths


def _logits(bundle: Bundle, file: str, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    backend = open_backend(bundle, file)
    starts = tqdm(range(0, len(pictures), 64), f"{bundle.manifest.name} {file}", leave=False)
    return np.concatenate(
        [backend.infer(np.ascontiguousarray(pictures[i : i + 64])) for i in starts]
    )


def _top1(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], known: NDArray[np.bool_]
) -> dict[str, Any]:
    card = score(truth[known], predicted[known])
    return {
        "n": card.n, "top1": card.top1, "interval": card.interval, "macro_f1": card.macro_f1,
        "per_class_recall": card.per_class_recall,
    }  # fmt: skip


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
    backends = [open_backend(bundle, "int8.tflite") for bundle in bundles.values()]
    calls: list[Callable[[], object]] = [partial(backend.infer, face) for backend in backends]
    times = [summary(measured)["p50"] for measured in alternate([*calls, run_peer], runs)]
    return [{"p50_ms": time, "ratio": time / times[-1]} for time in times]


def _line(name: str, row: dict[str, Any]) -> str:
    parts = [
        f"{name:<28} {row['bytes']:>9,} bytes  {row['p50_ms']:.3f} ms, {row['ratio']:.2f} of the peer's"
    ]
    for kind in ("int8", "float"):
        for key, card in row.get(kind, {}).items():
            low, high = card["interval"]
            parts.append(
                f"  {kind:<5} {key:<16} {card['top1']:.2%} ({low:.2%} to {high:.2%}) of {card['n']:,}"
            )
    for key, drop in row.get("drop", {}).items():
        parts.append(
            f"  float to int8 {key}: {100 * drop['drop']:+.2f} pp (90 % {100 * drop['lower95']:+.2f} to {100 * drop['upper95']:+.2f}), "
            f"agreement {row['agreement']:.2%}"
        )
    return "\n".join(parts)


def _markdown(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| model | int8 bytes | activations | MACs | time | FER-2013 labels, top-1 | macro-F1 | flip | FER+ majority, top-1 | flip | float to int8, pp |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for name, row in found.items():
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
        drops = [f"{key} {-100 * drop['drop']:+.2f}" for key, drop in row.get("drop", {}).items()]
        yield "| " + " | ".join([*cells, ", ".join(drops)]) + " |"
    yield ""
    yield "| int8 recall | " + " | ".join(f"{label}" for label in LABELS) + " |"
    yield "|---|" + "---|" * len(LABELS)
    for name, row in found.items():
        for key in ("fer2013", "ferplus"):
            recall = row["int8"][key]["per_class_recall"]
            yield (
                f"| `{name}`, {key} | "
                + " | ".join(f"{recall[label]:.1%}" for label in LABELS)
                + " |"
            )


def _share(card: dict[str, Any]) -> str:
    low, high = card["interval"]
    return f"{card['top1']:.2%} ({100 * low:.1f} to {100 * high:.1f})"


def _flip(cards: dict[str, dict[str, Any]], key: str) -> str:
    card = cards.get(f"{key}_flipped")
    return f"{card['top1']:.2%}" if card else ""


if __name__ == "__main__":
    main()
