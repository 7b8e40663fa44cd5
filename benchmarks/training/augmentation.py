"""The pictures that `train` makes in OpenCV beside those of the fast path: a sheet, and figures.

KERAS_BACKEND=jax python -m benchmarks.training.augmentation --out sheet.png [--data prepared/]

The sheet has four rows of each face: two of OpenCV's variants, then two of the fast path's. Without
--data the faces are drawn.
"""

from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.checked.files import written_beside
from edgeemo.data.prepared import load_prepared
from training.fast import augment as fast
from training.fast.xla import check_backend, jax, jnp
from training.fit import augment as slow
from training.fit.recipe import Augmentation
from training.runs.sheets import contact_sheet, png

Pixels = NDArray[np.uint8]
_ACROSS, _DRAWN = 12, 5000


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The PNG to write.")
@click.option("--data", type=click.Path(path_type=Path), help="A prepared folder.")
@click.option("--faces", default=4, show_default=True, help="Faces on the sheet.")
@click.option("--seed", default=1, show_default=True)
def main(out: Path, data: Path | None, faces: int, seed: int) -> None:
    """Write the sheet, and print what both kinds of picture have in common."""
    check_backend()
    images = drawn_faces(_DRAWN) if data is None else _training_faces(data)
    sheet = []
    for number, face in enumerate(images[:faces]):
        copies = np.tile(face, (2 * _ACROSS, 1, 1))
        for made in (in_opencv(copies, seed + number), on_fast_path(copies, seed + number)):
            sheet.append(np.clip(np.rint(made), 0, 255).astype(np.uint8))
    captions = [
        ("OpenCV", "fast path")[i // (2 * _ACROSS) % 2] for i in range(len(sheet) * 2 * _ACROSS)
    ]
    with written_beside(out) as part:
        part.write_bytes(png(contact_sheet(np.concatenate(sheet), _ACROSS, captions, scale=2)))
    some = images[:_DRAWN]
    say(f"{len(some):,} faces, a variant each: mean +- standard deviation")
    say(f"{'':22}{'OpenCV':>20}{'fast path':>20}")
    first, second = figures(some, in_opencv(some, seed)), figures(some, on_fast_path(some, seed))
    for name, of_opencv in first.items():
        cells = [f"{v.mean():.3f} +- {v.std():.3f}" for v in (of_opencv, second[name])]
        say(f"{name:22}{cells[0]:>20}{cells[1]:>20}")
    say(f"wrote {out}: rows of OpenCV's variants and of the fast path's in turn")


def in_opencv(images: Pixels, seed: int) -> NDArray[np.float32]:
    """Variants float32 (n, S, S) of pictures uint8 (n, S, S) by `train`'s augmentation."""
    rng = np.random.default_rng(seed)
    return slow.augmented_epoch(images[..., np.newaxis], Augmentation(), rng)[..., 0]


def on_fast_path(images: Pixels, seed: int) -> NDArray[np.float32]:
    """The same by the fast path's."""
    u = fast.draws(jax.random.key(seed), 0, jnp.arange(len(images)))
    return np.asarray(fast.augment(jnp.asarray(images)[..., None], u, Augmentation()))[..., 0]


def figures(images: Pixels, variants: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Of each variant (n, S, S): its grey, its spread, its sharpness, how many of its pixels are in
    a flat patch, and how far it is from its picture and from the mirror image.
    """
    x, still = variants.astype(np.float64), images.astype(np.float64)
    flat = (np.diff(x, axis=1)[:, :, :-1] == 0) & (np.diff(x, axis=2)[:, :-1] == 0)
    return {
        "mean grey": x.mean(axis=(1, 2)),
        "spread of greys": x.std(axis=(1, 2)),
        "edges": np.abs(np.diff(x, axis=2)).mean(axis=(1, 2)),
        "flat pixels, %": 100 * flat.mean(axis=(1, 2)),
        "from its picture": np.abs(x - still).mean(axis=(1, 2)),
        "from its mirror image": np.abs(x - still[:, :, ::-1]).mean(axis=(1, 2)),
    }


def drawn_faces(count: int) -> Pixels:
    """uint8 (count, 48, 48): faces with a parting and a mouth askew, on fading backgrounds."""
    rng = np.random.default_rng(0)
    pictures = np.empty((count, 48, 48), np.uint8)
    ramp = np.linspace(0, 1, 48)
    for picture in pictures:
        back, skin, dark = rng.integers(30, 100), rng.integers(130, 220), rng.integers(10, 60)
        picture[:] = (back + 60 * ramp * rng.random()).astype(np.uint8)
        cv2.ellipse(picture, (24, 25), (15, 20), 0, 0, 360, int(skin), -1)
        cv2.ellipse(picture, (24, 12), (16, 9), 10, 170, 350, int(dark), 4)
        for x in (18, 31):
            cv2.circle(picture, (x, 21), 2, int(dark), -1)
        cv2.ellipse(picture, (25, 34), (7, int(rng.integers(1, 5))), 8, 0, 180, int(dark), 2)
        noise = rng.normal(0, 4, picture.shape)
        picture[:] = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return pictures


def _training_faces(data: Path) -> Pixels:
    prepared = load_prepared(data)
    return np.asarray(prepared.images[prepared.indices("train")[:_DRAWN], :, :, 0])


if __name__ == "__main__":
    main()
