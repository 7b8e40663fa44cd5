#!/usr/bin/env python3
"""Pictures as a camera's frames for frames.c, and its answers beside Python's.

python3 frames.py pack photo.jpg --format rgb565
python3 frames.py show --model nano
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.preprocess import resize_grey, to_grey
from edgeemo.data.pictures import read_picture
from edgeemo.models import find_model
from edgeemo.trust import read_bundle

FORMATS = {"grey": 0, "rgb888": 1, "rgb565": 3, "yuyv": 5}
"""Numbers of edgeemo_pixel_format."""
FRAMES, ANSWERS = Path("frames.bin"), Path("answers.bin")


def fitted(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): the whole picture in the frame's middle, black around it."""
    share = min(width / picture.shape[1], height / picture.shape[0])
    across, down = (max(1, round(side * share)) for side in (picture.shape[1], picture.shape[0]))
    planes = [np.ascontiguousarray(picture[..., i]) for i in range(3)]
    small = np.stack([resize_grey(plane, down, across) for plane in planes], axis=-1)
    frame = np.zeros((height, width, 3), np.uint8)
    top, left = (height - down) // 2, (width - across) // 2
    frame[top : top + down, left : left + across] = small
    return frame


def packed(rgb: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """uint8 (H, bytes a row) of uint8 (H, W, 3) RGB, as a camera sends `kind`."""
    if kind == "grey":
        return to_grey(rgb)
    if kind == "rgb565":  # the byte with red first, as most cameras send it
        red, green, blue = (rgb[..., i].astype(np.uint16) for i in range(3))
        return (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).astype(">u2").view(np.uint8)
    if kind == "yuyv":
        pairs = np.full((*rgb.shape[:2], 2), 128, np.uint8)
        pairs[..., 0] = to_grey(rgb)
        return pairs.reshape(len(rgb), -1)
    return rgb.reshape(len(rgb), -1)


def frame_bytes(rgb: NDArray[np.uint8], kind: str) -> bytes:
    """A frame of frames.bin."""
    rows = packed(rgb, kind)
    head = np.array([rgb.shape[1], rgb.shape[0], FORMATS[kind], rows.shape[1]], "<i4")
    return head.tobytes() + np.ascontiguousarray(rows).tobytes()


def answers(data: bytes, labels: int) -> list[list[tuple[tuple[int, ...], list[int]]]]:
    """Of each frame of answers.bin, its faces: x, y, width, height and score, and the logits."""
    frames, at = [], 0
    while at < len(data):
        (count,), at = np.frombuffer(data, "<i4", 1, at), at + 4
        faces = []
        for _ in range(count):
            place = tuple(np.frombuffer(data, "<i4", 5, at).tolist())
            faces.append((place, np.frombuffer(data, np.int8, labels, at + 20).tolist()))
            at += 20 + labels
        frames.append(faces)
    return frames


def main() -> None:
    """Pack or show."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    pack = verbs.add_parser("pack", help="write frames.bin")
    pack.add_argument("pictures", nargs="+", type=Path)
    pack.add_argument("--format", choices=FORMATS, default="grey")
    pack.add_argument("--width", type=int, default=320)
    pack.add_argument("--height", type=int, default=240)
    show = verbs.add_parser("show", help="print answers.bin")
    show.add_argument("--model", default="nano")
    given = parser.parse_args()
    if given.verb == "pack":
        frames = (fitted(read_picture(p), given.width, given.height) for p in given.pictures)
        FRAMES.write_bytes(b"".join(frame_bytes(frame, given.format) for frame in frames))
        return
    labels = read_bundle(find_model(given.model)).labels
    for number, faces in enumerate(answers(ANSWERS.read_bytes(), len(labels)), start=1):
        for place, logits in faces:
            print(f"frame {number}: {labels[int(np.argmax(logits))]} at {place[:4]}")
        if not faces:
            print(f"frame {number}: nobody")


if __name__ == "__main__":
    main()
