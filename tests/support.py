"""What several tests need: the shared data, drawn pictures, and a tiny network whose answers are
known.
"""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.run import Predictions, write_predictions
from edgeemo.data.prepared import load_prepared

if TYPE_CHECKING:
    import click
    import keras

    from training.fit.recipe import Recipe

REPOSITORY = Path(__file__).resolve().parent.parent
# A reading as JSON, as docs and the kiosk example promise it.
READING_KEYS = [
    "time",
    "monotonic",
    "frame",
    "face_id",
    "emotion",
    "confidence",
    "scores",
    "box",
    "latency_ms",
    "fps",
    "dropped",
]
SHARED = Path(os.environ.get("EDGEEMO_SHARED", REPOSITORY.parent / "shared"))

# Brightness (dark or bright) of the four quadrants that each class's drawn pictures have: all
# pairwise different.
PATTERNS = np.array(
    [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [1, 0, 0, 1],
    ]
)


def without(modules: Sequence[str], folder: Path) -> dict[str, str]:
    """The environment of programs in which nobody finds these packages; `folder` is written to."""
    hide = "import sys\nfor name in {!r}:\n    sys.modules[name] = None\n"
    (folder / "sitecustomize.py").write_text(hide.format(tuple(modules)))
    return os.environ | {"PYTHONPATH": f"{folder}:{REPOSITORY}"}


def shared(*parts: str) -> Path:
    """A file of the development data beside the checkout; the test skips, saying so, where it is
    not there.
    """
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(
            f"needs {'/'.join(parts)} of the shared development data, which is not at {SHARED}"
        )
    return path


def drawn_picture(label: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (48, 48): a class's quadrants, dark about 60 and bright about 190, with a texture of
    the picture's own.

    The texture keeps two pictures of a class from being near copies, and has mean 0 in each
    quadrant.
    """
    blocks = np.kron(PATTERNS[label].reshape(2, 2), np.ones((24, 24)))
    texture = cv2.resize(
        rng.normal(0, 30, (16, 16)), (48, 48), interpolation=cv2.INTER_CUBIC
    ).reshape(2, 24, 2, 24)
    texture = (texture - texture.mean(axis=(1, 3), keepdims=True)).reshape(48, 48)
    picture: NDArray[np.float64] = 60 + 130 * blocks + texture + rng.normal(0, 4, (48, 48))
    return picture.clip(0, 255).astype(np.uint8)


def drawn_path(split: str, label: int, number: int) -> str:
    """Where a drawn picture lies in an archive of FER-2013's layout; the file name is unique in the
    archive.
    """
    part = {"train": "Training", "test": "PublicTest"}[split]
    return f"{split}/{LABELS[label]}/{part}_{label:02}{number:06}.png"


def encoded(picture: NDArray[np.uint8], suffix: str = ".png") -> bytes:
    """A picture's file bytes; a three-channel picture is taken as BGR."""
    done, data = cv2.imencode(suffix, picture)
    assert done
    return bytes(data.tobytes())


def write_drawn_archive(path: Path, train: int = 20, test: int = 8, seed: int = 0) -> Path:
    """A zip in FER-2013's layout of drawn pictures, counts per class."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in (("train", train), ("test", test)):
            for label in range(len(LABELS)):
                for i in range(count):
                    archive.writestr(
                        drawn_path(split, label, i), encoded(drawn_picture(label, rng))
                    )
    return path


def quadrant_logits(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the tiny network answers to uint8 (N, 48, 48, 1): the oracle, float64 (N, 7)."""
    scaled = pictures.astype(np.float64)[..., 0] / 127.5 - 1
    means = scaled.reshape(-1, 2, 24, 2, 24).mean(axis=(2, 4)).reshape(-1, 4)
    return np.asarray(means @ tiny_weights() + tiny_bias())


def tiny_weights() -> NDArray[np.float64]:
    """(4, 7): a bright quadrant speaks for the classes that have it, a dark one against."""
    return np.where(PATTERNS == 1, 4.0, -4.0).T


def tiny_bias() -> NDArray[np.float64]:
    """(7,): makes patterns of one and of two bright quadrants comparable."""
    return np.zeros(len(LABELS))


def drawn_network(kernel: int = 3, seed: int = 0) -> "keras.Model":
    """A network of the kinds of layers that ours are made of, with drawn weights: 48x48 pixels to 7
    logits.

    With `kernel` 1 nothing is padded, so that means of layers are what their weights and the means
    of their inputs say.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    pixels = keras.Input((48, 48, 1), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescale")(pixels)
    x = layers.AveragePooling2D(4, name="coarse")(x)
    x = layers.ReLU(name="first_relu")(layers.Conv2D(8, kernel, padding="same", name="first")(x))
    x = layers.ReLU(name="depth_relu")(
        layers.DepthwiseConv2D(kernel, padding="same", name="depth")(x)
    )
    x = layers.Conv2D(16, kernel, padding="same", name="last")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(pixels, layers.Dense(len(LABELS), name="logits")(x), name="drawn")
    rng = np.random.default_rng(seed)
    model.set_weights(
        [rng.normal(0.1, 0.5, w.shape).astype(np.float32) for w in model.get_weights()]
    )
    return model


def drawn_faces(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 (count + 2, 48, 48, 1): drawn pictures of all classes in turn, and the two ends of the
    pixel range.
    """
    rng = np.random.default_rng(seed)
    pictures = [drawn_picture(i % len(LABELS), rng) for i in range(count)]
    return np.stack([*pictures, np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)])[
        ..., np.newaxis
    ]


def rezip(bundle: Path, out: Path, change) -> Path:  # type: ignore[no-untyped-def]
    """A copy of a bundle whose entries, a dict of name to bytes, `change` has changed in place."""
    with zipfile.ZipFile(bundle) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    change(entries)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out


def matching_hashes(entries: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """Put the manifest among a bundle's entries with sizes and hashes of what is there, as somebody
    who tampers would.
    """
    for part in (*manifest["artifacts"], *manifest["companions"]):
        content = entries[part["file"]]
        part |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    entries["manifest.json"] = json.dumps(manifest).encode()


def store_model(run: Path, model: "keras.Model", prepared: Path) -> None:
    """Make `model` that of a finished run: its weights, and its predictions of the prepared
    folder's test split.
    """
    model.save(run / "model.keras")
    model.save_weights(run / "model.weights.h5")
    data = load_prepared(prepared, DEFAULT_SPEC)
    rows = data.indices("test")
    logits, mirrored = (
        np.asarray(model.predict_on_batch(images.astype(np.float32)))
        for images in (data.images[rows], data.images[rows][:, :, ::-1])
    )
    write_predictions(run, "test", Predictions(logits, mirrored, data.labels[rows], rows))


def png_of(width: int, height: int, channels: int = 3, dtype: type = np.uint8) -> bytes:
    """A PNG of random pixels of the given kind."""
    rng = np.random.default_rng(width * 31 + height)
    shape = (height, width) if channels == 1 else (height, width, channels)
    return encoded(rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype))


def zip_bytes(entries: dict[str, bytes]) -> bytes:
    """A stored zip archive of the entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class _Terminal(io.StringIO):
    """Text that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


def done_here(
    group: "click.Command", name: str, *words: object, terminal: bool = False
) -> subprocess.CompletedProcess[str]:
    """What a command line of the project does and says, as a process of its own would, but in this
    one; its standard output may be a `terminal`.

    Another process would import TensorFlow again, for ten seconds.
    """
    from edgeemo.cli import shell

    arguments = list(map(str, words))
    out, errors = _Terminal() if terminal else io.StringIO(), io.StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            shell.run(group, name, arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def interrupted_after_first_epoch(
    prepared: Path, out: Path, recipe: "Recipe", seconds: float = 120
) -> subprocess.Popen[str]:
    """A real training process that gets Ctrl-C once its first epoch is finished."""
    code = (
        "from pathlib import Path; from edgeemo.cli import shell; import click, sys\nfrom"
        " training.machines.backend import choose_backend; choose_backend()\nimport"
        " tests.networks  # its small network\nfrom training.fit.train import train; from"
        " training.fit.recipe import Recipe\nrecipe ="
        f" Recipe.from_dict({recipe.to_dict()!r})\n@click.command()\ndef main(): train(recipe,"
        f" Path({str(prepared)!r}), Path({str(out)!r}))\nshell.run(main, 'train', [])"
    )
    process = subprocess.Popen(
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-c",
            code,
        ],  # a shell's background job ignores it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    deadline = time.monotonic() + seconds
    while (
        not (out / "checkpoint.npz").is_file()
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    return process
