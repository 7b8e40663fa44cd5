"""What is fuzzed: each target takes any bytes, and only the errors that its function promises may
come of them.

Seeds are made here, by code: small, and no picture of a face.
"""

import hashlib
import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeemo.contract.bundle import read_bundle, write_bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.container import sha256
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec, parse_spec
from edgeemo.contract.labels import LABELS, check_labels
from edgeemo.contract.manifest import parse_manifest
from edgeemo.contract.preprocess import face_to_input
from edgeemo.contract.run import (
    Predictions,
    RunConfig,
    read_predictions,
    read_run_config,
    write_predictions,
    write_run_config,
)
from edgeemo.data.labelled import PictureArchive
from edgeemo.data.pictures import decode_picture
from edgeemo.errors import ArchiveError, BundleError, PictureError, RunError
from edgeemo.firmware.image_signature import ImageSignature, joined_image, split_image
from edgeemo.live.tracking import Tracker
from edgeemo.models import find_model
from edgeemo.results import Box
from tests.export.firmware.image_support import image_of, network

FOUND = Path(__file__).with_name("found")
"""Inputs that once crashed something, a folder a target: they are seeds and tests."""


@dataclass(frozen=True)
class Target:
    """Something that reads bytes from outside."""

    summary: str
    """What it reads, in a few words."""
    run: Callable[[bytes], None]
    """Reads any bytes; raises only where there is a fault."""
    made: Callable[[], list[bytes]]
    """Small good inputs, made by code."""

    def seeds(self, name: str) -> list[bytes]:
        """What fuzzing begins with: good inputs, and those that were bad once."""
        found = sorted(FOUND.glob(f"{name}/*"))
        return [*self.made(), *(file.read_bytes() for file in found)]


@cache
def _scratch() -> Path:
    """A folder of this process, in memory where there is such."""
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _file(name: str, data: bytes) -> Path:
    path = _scratch() / name
    path.write_bytes(data)
    return path


# Bundles.


def _tiny_bundle() -> bytes:
    """A bundle of 8 x 8 pixels and two labels whose model is 64 bytes of nothing."""
    shipped = read_bundle(find_model("nano")).manifest
    artifact = shipped.artifact("int8.tflite")
    spec, labels = InputSpec(height=8, width=8), ("calm", "tense")
    selftest = io.BytesIO()
    inputs = np.arange(64, dtype=np.uint8).reshape(1, *spec.shape)
    np.savez(selftest, **{"inputs": inputs, artifact.file: np.zeros((1, 2), np.float32)})
    files = {
        artifact.file: bytes(range(64)),
        "selftest.npz": selftest.getvalue(),
        "report.json": b'{"labels": ["calm", "tense"], "drop": 0.25}',
    }
    stored = {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()}
    manifest = replace(
        shipped,
        labels=labels,
        operating_point=None,
        input_spec=spec,
        input_fingerprint=spec.fingerprint(),
        artifacts=(
            replace(
                artifact,
                input=replace(artifact.input, shape=(1, *spec.shape)),
                output=replace(artifact.output, shape=(1, len(labels))),
                **stored[artifact.file],
            ),
        ),
        companions=tuple(replace(c, **stored[c.file]) for c in shipped.companions),
        evaluation=(),
    )
    path = _scratch() / "tiny.edgeemo"
    write_bundle(path, manifest, files)
    return path.read_bytes()


def _matching(data: bytes) -> bytes | None:
    """A bundle with sizes and hashes of what it holds, as somebody who means it would write them;
    None where that cannot be."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {i.filename: archive.read(i) for i in archive.infolist()[:20]}
        manifest = json.loads(entries["manifest.json"])
        for part in (*manifest["artifacts"], *manifest["companions"]):
            content = entries[part["file"]]
            part |= {"bytes": len(content), "sha256": sha256(content)}
        entries["manifest.json"] = json.dumps(manifest).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
    except Exception:  # not a bundle's zip: nothing to be made to fit
        return None
    return buffer.getvalue()


def _bundle(data: bytes) -> None:
    for content in (data, _matching(data)):
        if content is not None:
            with suppress(BundleError):
                read_bundle(_file("fuzz.edgeemo", content))


# Pictures.


def _pictures() -> list[bytes]:
    rows, columns = np.mgrid[:9, :7]
    rgb = np.stack([rows * 25, columns * 30, rows * columns], -1).astype(np.uint8)
    kinds = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm")
    made = [cv2.imencode(kind, rgb)[1].tobytes() for kind in kinds]
    made += [cv2.imencode(kind, rgb[..., 0])[1].tobytes() for kind in (".png", ".jpg", ".pgm")]
    wide = rgb.astype(np.uint16) * 257
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    return [
        *made,
        cv2.imencode(".png", wide)[1].tobytes(),
        cv2.imencode(".tiff", wide)[1].tobytes(),
        cv2.imencode(".jpg", rgb, progressive)[1].tobytes(),
    ]


def _picture(data: bytes) -> None:
    with suppress(PictureError):
        rgb = decode_picture(data, "fuzz")
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise AssertionError(f"expected uint8 (H, W, 3), received {rgb.dtype} {rgb.shape}")


# Archives of labelled pictures.


def _archives() -> list[bytes]:
    made = []
    for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", packed) as archive:
            archive.writestr("train/happy/1.png", b"not decoded here" * 4)
            archive.writestr("test/sad/a (1).jpg", b"x")
            archive.writestr("train/nobody/b.png", b"y")
        made.append(buffer.getvalue())
    return made


def _archive(data: bytes) -> None:
    path = _file("fuzz.zip", data)
    for labels_from in ("folder", "name"):
        with (
            suppress(ArchiveError),
            PictureArchive(path, LABELS, labels_from=labels_from) as archive,
        ):
            json.dumps(archive.rejected_counts())
            for file in archive.files[:20]:
                with suppress(PictureError):
                    archive.read(file.path)


# JSON and arrays that travel: the first letter says which.


def _documents() -> list[bytes]:
    bundle = read_bundle(find_model("nano"))
    spec = strict.dumps({"spec": asdict(DEFAULT_SPEC), "print": DEFAULT_SPEC.fingerprint()})
    with zipfile.ZipFile(bundle.path) as archive:
        manifest = archive.read("manifest.json")
    return [
        b"m" + manifest,
        b"s" + spec.encode(),
        b"l" + strict.dumps(list(LABELS)).encode(),
        b"r" + _written(lambda folder: write_run_config(folder, _RUN), "config.json"),
        b"p"
        + _written(
            lambda folder: write_predictions(folder, "test", _PREDICTIONS), "predictions_test.npz"
        ),
    ]


_RUN = RunConfig({"model": "nano", "epochs": 3}, LABELS, DEFAULT_SPEC, "0" * 64)
_PREDICTIONS = Predictions(
    np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), np.arange(2), np.arange(2)
)


def _written(write: Callable[[Path], None], name: str) -> bytes:
    write(_scratch())
    return (_scratch() / name).read_bytes()


def _spec(text: bytes) -> None:
    raw = strict.loads(text)
    if isinstance(raw, Mapping):
        parse_spec(raw.get("spec"), str(raw.get("print")), "fuzz")
        # As somebody who means it: with the fingerprint that fits.
        parse_spec(raw["spec"], strict.from_dict(InputSpec, raw["spec"], "x").fingerprint(), "fuzz")


def _labels(text: bytes) -> None:
    labels: Any = strict.loads(text)
    if isinstance(labels, list):
        check_labels(labels, "fuzz")


def _document(data: bytes) -> None:
    kind, text = data[:1], data[1:]
    if kind == b"m":
        with suppress(BundleError):
            parse_manifest(text, "fuzz")
    elif kind == b"s":
        with suppress(ValueError, KeyError):
            _spec(text)
    elif kind == b"l":
        with suppress(ValueError):
            _labels(text)
    elif kind == b"r":
        _file("config.json", text)
        with suppress(RunError):
            read_run_config(_scratch())
    elif kind == b"p":
        _file("predictions_test.npz", text)
        with suppress(RunError):
            read_predictions(_scratch(), "test", 2)


# The tracker: a frame's size, then commands of 11 bytes.


def _tracks() -> list[bytes]:
    rng = np.random.default_rng(0)
    step = struct.Struct("<BBbhhhh")  # look, of how many steps, scroll, box
    still = b"".join(step.pack(i % 3 == 0, 1, 5, 10, 20, 30, 30) for i in range(6))
    pan = b"".join(step.pack(i == 0, 1, 25, 4, 60, 40, 40) for i in range(9))
    noise = rng.integers(0, 256, 10 * step.size, dtype=np.uint8).tobytes()
    return [bytes([96, 72]) + still, bytes([120, 90]) + pan, bytes([17, 31]) + noise]


def _tracker(data: bytes) -> None:
    """Boxes of a detector in frames that scroll: whatever they are, each face can be cropped."""
    if len(data) < 2:
        return
    step = struct.Struct("<BBbhhhh")
    height, width = 8 + data[0], 8 + data[1]
    frame = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    tracker, now = Tracker(), 0.0
    for at in range(2, min(len(data) - step.size, 40 * step.size), step.size):
        look, gap, scroll, *numbers = step.unpack_from(data, at)
        now += gap / 50
        frame = np.roll(frame, scroll, 0)
        if look % 2 == 0:
            tracks = tracker.carried(frame)
        else:
            x, y = numbers[0] % width, numbers[1] % height
            box = Box(x, y, 1 + numbers[2] % (width - x), 1 + numbers[3] % (height - y))
            tracks = tracker.detected([box], now, frame)
        tracker.largest()
        for track in tracks:
            face_to_input(frame, track.box.as_tuple(), DEFAULT_SPEC)


# Flash images, in Python; the C loader is a target of its own.


def _images() -> list[bytes]:
    image = image_of(network())
    signatures = [ImageSignature(key * 64, bytes(range(70))) for key in "ab"]
    return [image, joined_image(image, signatures), joined_image(image, signatures)[len(image) :]]


def _sealed(data: bytes) -> bytes:
    """An image of this size with hashes that fit."""
    image = bytearray(data)
    image[:20] = b"edgeemo\0" + struct.pack("<3I", 1, 208, len(image))
    image[80:112] = hashlib.sha256(image[208:]).digest()
    image[204:208] = struct.pack("<I", zlib.crc32(image[:204]))
    return bytes(image)


@cache
def _good_image() -> bytes:
    return image_of(network())


def _image(data: bytes) -> None:
    for content in (data, _sealed(data) if len(data) > 208 else b"", _good_image() + data):
        with suppress(BundleError):
            split_image(content)


TARGETS = {
    "bundle": Target("read_bundle: a .edgeemo file", _bundle, lambda: [_tiny_bundle()]),
    "picture": Target("decode_picture: a picture file", _picture, _pictures),
    "archive": Target("PictureArchive: a zip of labelled pictures", _archive, _archives),
    "document": Target("JSON and arrays: manifest, input spec, labels, run", _document, _documents),
    "tracker": Target("Tracker: boxes of a detector in moving frames", _tracker, _tracks),
    "image": Target("split_image: a flash image and signatures", _image, _images),
}
