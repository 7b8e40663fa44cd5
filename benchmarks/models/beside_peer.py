"""A bundle beside mini_XCEPTION, the small model that several emotion packages ship.

Accuracy and time on the same faces:

python -m benchmarks.models.beside_peer BUNDLE prepared/ ../shared/peers/mini_xception_int8.tflite

Accuracy is paired, picture by picture, on the test split. Times are of inference alone, one thread,
in turn.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import open_backend
from edgeemo.backends.litert import open_interpreter
from edgeemo.cli.bench import alternate, summary
from edgeemo.cli.shell import say
from edgeemo.cli.tables import scorecard_lines
from edgeemo.contract.labels import label_index
from edgeemo.contract.preprocess import resize_grey
from edgeemo.data.prepared import load_prepared
from edgeemo.proof.evaluation import paired_drop, score
from edgeemo.recognizer import load_bundle
from export.report.words import change

_PEER_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@click.command()
@click.argument("bundle")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("peer", type=click.Path(path_type=Path))
@click.option("--runs", default=2000, show_default=True, help="Timed inferences of each model.")
def main(bundle: str, data: Path, peer: Path, runs: int) -> None:
    """Compare a bundle's int8.tflite with the peer's .tflite."""
    opened = load_bundle(bundle)
    prepared = load_prepared(data, opened.spec, opened.labels)
    rows = prepared.indices("test")
    pictures, labels = np.asarray(prepared.images[rows]), prepared.labels[rows]
    backend = open_backend(opened)
    ours = backend.infer(pictures).argmax(axis=1)
    run_peer, theirs = open_peer(peer, pictures, opened.labels)
    for name, predicted in ((bundle, ours), (peer.name, theirs)):
        say(*scorecard_lines(score(labels, predicted, opened.labels), name))
    compared = paired_drop(theirs == labels, ours == labels)
    say(f"ours over the peer: {change(compared)}, McNemar p {compared.mcnemar_p:.2g}")
    face = pictures[:1]
    mine, other = (
        summary(times) for times in alternate([lambda: backend.infer(face), run_peer], runs)
    )
    say(
        f"one thread, in turn: ours p50 {mine['p50']:.3f} ms, the peer's {other['p50']:.3f} ms, "
        f"ratio {mine['p50'] / other['p50']:.2f}"
    )


def open_peer(
    path: Path, pictures: NDArray[np.uint8], labels: tuple[str, ...]
) -> tuple[Callable[[], object], NDArray[np.int64]]:
    """A call that runs the peer once, and its answers to uint8 (N, H, W, 1) pictures.

    The answers are label numbers (N,), positions in `labels`, which must be the peer's seven.
    """
    interpreter = open_interpreter(path.read_bytes(), path.name)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    order = [label_index(label, labels) for label in _PEER_LABELS]
    assert sorted(order) == list(range(len(labels)))

    def run(pixels: NDArray[np.uint8]) -> Any:
        real = pixels.astype(np.float32) / 127.5 - 1  # the peer's own normalization
        value = (
            np.clip(np.round(real / scale) + zero_point, -128, 127).astype(np.int8)
            if scale
            else real
        )
        interpreter.set_tensor(source["index"], value)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])[0]

    side = int(source["shape"][1])
    sized = [
        resize_grey(picture[:, :, 0], side)[np.newaxis, :, :, np.newaxis] for picture in pictures
    ]
    predicted = np.array([order[int(run(pixels).argmax())] for pixels in sized])
    return (lambda: run(sized[0])), predicted


if __name__ == "__main__":
    main()
