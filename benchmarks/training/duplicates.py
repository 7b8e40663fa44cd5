"""How well and how fast near copies are found.

python -m benchmarks.training.duplicates truth ../shared/data --out FOLDER
python -m benchmarks.training.duplicates curve ../shared/data/fer2013.zip

`truth` measures recall and precision against overlap_truth.csv, `curve` time and memory at 10k,
30k, 90k and 180k pictures."""

import csv
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.labelled import PictureArchive
from edgeemo.data.pictures import decode_picture
from training.data.duplicates import Duplicates, exact_groups, find_duplicates
from training.data.sources import SOURCES

LAYOUTS = ("facial-emotion-expressions", "face-emotion-dataset", "facial-emotion-dataset")


@click.group()
def main() -> None:
    """Measure duplicate detection."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the sheets of pairs outside the truth file go.",
)
@click.option(
    "--phash", is_flag=True, help="Measure the perceptual hash of the package ImageHash beside it."
)
def truth(data: Path, out: Path | None, phash: bool) -> None:
    """Recall by kind and precision on fer2013.zip and the stand-ins in DATA, against
    kaggle_layouts/overlap_truth.csv."""
    names, images = _union(data)
    place = {name: i for i, name in enumerate(names)}
    faces = {Path(path).name: i for (source, path), i in place.items() if source == "fer2013"}
    with (data / "kaggle_layouts" / "overlap_truth.csv").open(newline="") as file:
        known = [
            (row["kind"], place[row["archive"], row["path"]], faces[row["fer2013_source"]])
            for row in csv.DictReader(file)
            if row["archive"] in LAYOUTS
        ]
    start = time.perf_counter()
    found = find_duplicates(images, progress=sys.stderr.isatty())
    say(f"{len(images):,} pictures, {time.perf_counter() - start:.1f} s")
    _recall("ours", known, found.groups)
    _precision(found, images, known, out)
    if phash:
        for distance in (0, 4, 8):
            _recall(
                f"pHash, at most {distance} of 64 bits, not mirrored",
                known,
                _by_phash(images, known, distance),
            )


def _recall(name: str, known: list[tuple[str, int, int]], groups: NDArray[np.int64]) -> None:
    kinds = Counter(kind for kind, _, _ in known)
    right = Counter(kind for kind, a, b in known if groups[a] == groups[b])
    shares = "  ".join(
        f"{kind} {right[kind]:,}/{n:,} = {right[kind] / n:.2%}" for kind, n in kinds.items()
    )
    say(f"{name}: recall {shares}")


def _precision(
    found: Duplicates,
    images: NDArray[np.uint8],
    known: list[tuple[str, int, int]],
    out: Path | None,
) -> None:
    """Pairs inside groups, split into those that the truth file explains, equal pixels, and the
    rest for a person to judge."""
    origin = np.arange(len(images))
    for _, copy, face in known:
        origin[copy] = face
    order = np.argsort(found.groups, kind="stable")
    explained = equal = 0
    rest: list[tuple[int, int]] = []
    for members in np.split(order, np.flatnonzero(np.diff(found.groups[order])) + 1):
        for i, a in enumerate(members):
            for b in members[:i]:
                if origin[a] == origin[b]:
                    explained += 1
                elif found.exact[origin[a]] == found.exact[origin[b]]:
                    equal += 1
                elif origin[a] == a and origin[b] == b:
                    rest.append((int(a), int(b)))
    say(
        f"pairs in one group: {explained:,} as the truth file says, {equal:,} of equal pixels in "
        "FER-2013; "
        f"{len(rest):,} more distinct pairs of FER-2013 faces"
    )
    if out is not None:
        _write_doubtful(out, found, images, rest, origin)


def _write_doubtful(
    out: Path,
    duplicates: Duplicates,
    images: NDArray[np.uint8],
    rest: list[tuple[int, int]],
    origin: NDArray[np.int64],
) -> None:
    """Sheets of pairs that the truth file does not explain: some at random, and the weakest."""
    make_folder(out)
    rng = np.random.default_rng(1)
    drawn = sorted(rng.choice(len(rest), min(300, len(rest)), replace=False))
    _sheet(out / "outside_truth_random.png", images, [rest[i] for i in drawn])
    pairs = duplicates.pairs
    confirmed = np.flatnonzero((origin[pairs] == pairs).all(axis=1))
    weakest = confirmed[np.argsort(duplicates.detail[confirmed])][:300]
    shown = [(int(a), int(b)) for a, b in pairs[weakest]]
    _sheet(out / "outside_truth_weakest.png", images, shown)
    say(
        f"wrote {out}/outside_truth_random.png and {out}/outside_truth_weakest.png, 300 pairs "
        "each, to be judged"
    )


def _sheet(
    path: Path, images: NDArray[np.uint8], pairs: list[tuple[int, int]], columns: int = 15
) -> None:
    cells = [
        cv2.copyMakeBorder(
            np.hstack([images[a, :, :, 0], images[b, :, :, 0]]),
            0,
            2,
            0,
            4,
            cv2.BORDER_CONSTANT,
            value=255,
        )
        for a, b in pairs
    ]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    with written_beside(path) as part:
        part.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())


def _by_phash(
    images: NDArray[np.uint8], known: list[tuple[str, int, int]], distance: int
) -> NDArray[np.int64]:
    """Groups by hash distance, of the truth file's pairs alone: its recall, at a precision that is
    another matter."""
    import imagehash
    from PIL import Image

    groups = np.arange(len(images))
    for _, a, b in known:
        first, second = (imagehash.phash(Image.fromarray(images[i, :, :, 0])) for i in (a, b))
        if first - second <= distance:
            groups[a] = groups[b]
    return groups


def _union(data: Path) -> tuple[list[tuple[str, str]], NDArray[np.uint8]]:
    names, images = [], []
    for name in ("fer2013", *LAYOUTS):
        path = (
            data / "fer2013.zip" if name == "fer2013" else data / "kaggle_layouts" / f"{name}.zip"
        )
        # Not the source's view, which leaves second copies out.
        with PictureArchive(path, LABELS) as archive:
            for file in archive.files:
                try:
                    frame = decode_picture(archive.read(file.path), file.path)
                except ValueError:
                    continue
                names.append((name, file.path))
                images.append(
                    face_to_input(frame, (0, 0, frame.shape[1], frame.shape[0]), DEFAULT_SPEC)
                )
    return names, np.stack(images)


@main.command()
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--sizes",
    default="10000,30000,90000,180000",
    show_default=True,
    help="How many pictures, each in a process.",
)
def curve(archive: Path, sizes: str) -> None:
    """Time and peak memory on a synthetic union: each face of ARCHIVE in several of the changes
    that re-uploads show."""
    say("| pictures | seconds | peak memory | groups |", "|---|---|---|---|")
    for size in sizes.split(","):
        command = [
            sys.executable,
            "-m",
            "benchmarks.training.duplicates",
            "one",
            str(archive),
            size,
        ]
        row = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        say(
            f"| {row['pictures']:,} | {row['seconds']:.0f} | {row['peak_mb']:,.0f} MB | "
            f"{row['groups']:,} |"
        )


@main.command(hidden=True)
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.argument("size", type=int)
def one(archive: Path, size: int) -> None:
    """One size of the curve, as JSON."""
    images = synthetic_union(archive, size)
    start = time.perf_counter()
    found = find_duplicates(images, progress=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    exact = int(exact_groups(images).max()) + 1
    row = {
        "pictures": size,
        "seconds": seconds,
        "peak_mb": peak,
        "groups": int(found.groups.max()) + 1,
        "exact": exact,
    }
    say(json.dumps(row))


def synthetic_union(archive: Path, size: int, seed: int = 1) -> NDArray[np.uint8]:
    """uint8 (size, 48, 48, 1): the faces of FER-2013 again and again, re-encoded, resized, relit,
    mirrored, turned and zoomed."""
    rng = np.random.default_rng(seed)
    with SOURCES["fer2013"].open(archive, LABELS) as opened:
        faces = [decode_picture(opened.read(file.path), file.path)[..., 0] for file in opened.files]
    # As many faces as in the real union, about a fifth of its pictures; all are distinct in the
    # first fifth.
    faces = [faces[i] for i in rng.permutation(len(faces))[: max(1, size // 5)]]
    return np.stack([_changed(faces[i % len(faces)], i // len(faces), rng) for i in range(size)])[
        ..., np.newaxis
    ]


def _changed(face: NDArray[np.uint8], turn: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as it is in its first turn, and changed by chance in the later ones."""
    if turn == 0:
        return face
    kind = int(rng.integers(4))
    if kind == 1:
        face = cv2.resize(
            cv2.resize(face, (64, 64), interpolation=cv2.INTER_CUBIC),
            (48, 48),
            interpolation=cv2.INTER_AREA,
        )
    elif kind == 2:
        face = cv2.convertScaleAbs(face, alpha=rng.uniform(0.8, 1.2), beta=rng.uniform(-25, 25))
    elif kind == 3:
        warp = cv2.getRotationMatrix2D((23.5, 23.5), rng.uniform(-10, 10), rng.uniform(0.9, 1.1))
        face = cv2.warpAffine(face, warp, (48, 48), borderMode=cv2.BORDER_REPLICATE)
        face = cv2.flip(face, 1) if rng.random() < 0.5 else face
    _, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))])
    return decode_picture(data.tobytes(), "synthetic")[..., 0]


if __name__ == "__main__":
    main()
