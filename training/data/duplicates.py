"""Copies and near copies of one picture, found over a whole union of data sets in memory linear in
its size.

1. Exact: equal pixels, by hash. 2. Plain: nearest neighbours of a coarse descriptor (faiss),
   confirmed where the fine detail of both pictures agrees. Finds
   re-encoded, resized and brightened or darkened copies.
3. Warped: one picture of each group so far is searched in small rotations and zooms and mirrored; a
   candidate is aligned (ECC, Evangelidis and Psarakis 2008, in OpenCV) and confirmed by the same
   test of fine detail.

Faces look alike in their coarse parts and copies agree in their fine ones, so coarse parts propose
and fine ones decide. What was measured, and other ways that were tried: docs/data.md.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edgeemo.contract.preprocess import resize_grey, to_grey
from workstation.progress import Bar, counted
from workstation.progress import progress as progress_of

_SIDE = 48  # pixels that the thresholds, margins and sigmas below are measured at
# Set by eye on sheets of FER-2013's own near copies (docs/data.md): above 0.85 all pairs looked at
# are one photo, between 0.7 and 0.8 two thirds are two. The least agreeing pair of the truth file
# has 0.88.
MIN_DETAIL = 0.85
MIN_SIMILARITY = {"plain": 0.97, "warped": 0.88}
ANGLES = (-8.0, 0.0, 8.0)  # degrees; the alignment bridges what lies between
ZOOMS = (0.92, 1.0, 1.08)
MIN_CONTRAST = (
    3.0  # grey levels; what is flatter has no detail to compare, so only equal pixels count
)
MIN_OVERLAP = 0.4  # of the picture, after alignment

_MARGIN, _GRID, _DIMENSIONS = (
    4,
    14,
    64,
)  # pixels left out at the border, descriptor's side, its length
_SMOOTH, _SURROUND = 0.8, 2.5  # sigmas in pixels between which "fine detail" lies
_NEIGHBOURS = {"plain": 8, "warped": 6}
_LARGEST_FLOAT_PARTS = 4096  # pictures at a time, so that temporary arrays stay small

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Duplicates:
    """Groups of copies among N pictures."""

    groups: NDArray[np.int64]
    """int64 (N,), one number for all copies of a picture, counted in order of first appearance."""
    exact: NDArray[np.int64]
    """int64 (N,), the same for equal pixels alone."""
    pairs: NDArray[np.int64]
    """int64 (M, 2), the confirmed near pairs that joined groups."""
    detail: Floats
    """float32 (M,), how well the fine detail of each pair agrees, MIN_DETAIL to 1."""


@dataclass(frozen=True)
class _Candidates:
    """Pairs of rows; where `first` is mirrored, then turned and zoomed, it resembles `second`."""

    first: NDArray[np.int64]
    """int64 (M,), rows."""
    second: NDArray[np.int64]
    """int64 (M,), rows."""
    similarity: Floats
    """float32 (M,), of their descriptors."""
    variant: NDArray[np.int64]
    """int64 (M,), number of the change, see `_variant`."""


def find_duplicates(images: Pixels, *, progress: bool = True, warped: bool = True) -> Duplicates:
    """Group uint8 (N, H, W, C) pictures; without `warped`, turned, zoomed and mirrored ones are
    not looked for.

    Deterministic for the same pictures on the same machine.
    """
    exact = exact_groups(images)
    count = int(exact.max(initial=-1)) + 1
    firsts = np.zeros(count, np.int64)
    firsts[exact[::-1]] = np.arange(len(images))[::-1]
    plain = _grey(images[firsts])
    usable = np.flatnonzero([picture.std() >= MIN_CONTRAST for picture in plain])
    groups = np.arange(count)
    pairs, detail = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    steps = (_plain_pairs, _warped_pairs) if warped else (_plain_pairs,)
    passes = 2 + len(ANGLES) * len(ZOOMS) * warped
    with progress_of("near copies", passes, "passes", shown=progress, keep=True) as bar:
        for step in steps:
            rows = usable[np.unique(groups[usable], return_index=True)[1]]
            if len(rows) < 2:
                break
            of_step, agreement = step(plain[rows], bar, progress)
            pairs = np.concatenate([pairs, rows[of_step]])
            detail = np.concatenate([detail, agreement])
            groups = _joined(count, pairs)
    return Duplicates(_numbered(groups[exact]), exact, firsts[pairs], detail)


def _grey(images: Pixels) -> Pixels:
    """uint8 (N, 48, 48): the luma of uint8 (N, H, W, C), at the size that the thresholds are
    for.
    """
    grey = [to_grey(image) if image.shape[2] == 3 else image[:, :, 0] for image in images]
    if images.shape[1:3] == (_SIDE, _SIDE):
        return np.stack(grey)
    return np.stack([resize_grey(picture, _SIDE, _SIDE) for picture in grey])


def exact_groups(images: Pixels) -> NDArray[np.int64]:
    """int64 (N,): one number for all pictures of equal pixels, counted in order of first
    appearance.
    """
    numbers: dict[bytes, int] = {}
    hashes = (hashlib.sha256(image.tobytes()).digest() for image in images)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in hashes], np.int64)


def _plain_pairs(pictures: Pixels, bar: Bar, shown: bool) -> tuple[NDArray[np.int64], Floats]:
    descriptors, _ = _described(pictures)
    bar.advance()
    candidates = _neighbours(_index(descriptors), descriptors, "plain", 0)
    detail = np.concatenate(
        [
            _correlation(
                _fine(pictures[candidates.first[part]]), _fine(pictures[candidates.second[part]])
            )
            for part in _parts(len(candidates.first))
        ]
        or [np.empty(0, np.float32)]
    )
    bar.advance()
    return _confirmed(candidates, detail)


def _warped_pairs(pictures: Pixels, bar: Bar, shown: bool) -> tuple[NDArray[np.int64], Floats]:
    descriptors, basis = _described(pictures)
    index = _index(descriptors)
    passes = []
    for number, (angle, zoom) in enumerate((angle, zoom) for angle in ANGLES for zoom in ZOOMS):
        grids = _grids(pictures, angle, zoom)
        for mirrored in (False, True):
            # Mirroring a grid costs nothing; as the angles are symmetric, the order of the two
            # changes does not matter.
            seen = grids[:, :, ::-1] if mirrored else grids
            passes.append(
                _neighbours(index, _projected(seen, basis), "warped", 2 * number + mirrored)
            )
        bar.advance()
    candidates = _best_of_each_pair(passes)
    with ThreadPoolExecutor() as threads:
        score = threads.map(
            lambda i: _aligned_detail(
                pictures[candidates.first[i]],
                pictures[candidates.second[i]],
                *_variant(int(candidates.variant[i])),
            ),
            range(len(candidates.first)),
            chunksize=256,
        )
        detail = np.fromiter(
            counted(score, "aligning", "pairs", len(candidates.first), shown=shown),
            np.float32,
        )
    return _confirmed(candidates, detail)


def _variant(number: int) -> tuple[float, float, bool]:
    place, mirrored = divmod(number, 2)
    angle, zoom = ANGLES[place // len(ZOOMS)], ZOOMS[place % len(ZOOMS)]
    # The grid was mirrored after the warp; the picture is mirrored before it, so it turns the other
    # way.
    return (-angle if mirrored else angle), zoom, bool(mirrored)


def _confirmed(candidates: _Candidates, detail: Floats) -> tuple[NDArray[np.int64], Floats]:
    good = detail >= MIN_DETAIL
    return np.stack([candidates.first[good], candidates.second[good]], axis=1), detail[good]


def _described(pictures: Pixels) -> tuple[Floats, tuple[Floats, Floats]]:
    """Descriptors float32 (N, D) of length 1, and the mean and directions that made them.

    Principal components, so that what all faces share does not make them similar.
    """
    grids = _grids(pictures, 0.0, 1.0).reshape(len(pictures), -1)
    mean = grids.mean(axis=0)
    centred = grids - mean
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    basis = mean, np.ascontiguousarray(directions[:, ::-1][:, :_DIMENSIONS], np.float32)
    return _projected(grids, basis), basis


def _projected(grids: Floats, basis: tuple[Floats, Floats]) -> Floats:
    mean, directions = basis
    return _unit(np.asarray((grids.reshape(len(grids), -1) - mean) @ directions, np.float32))


def _grids(pictures: Pixels, angle: float, zoom: float) -> Floats:
    """float32 (N, G, G): each picture turned and zoomed, its middle as a coarse grid of mean 0 and
    length 1.
    """
    side = pictures.shape[1]
    inner = slice(_MARGIN, side - _MARGIN)
    warp = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, zoom)
    grids = np.empty((len(pictures), _GRID, _GRID), np.float32)
    for i, picture in enumerate(pictures):
        if angle or zoom != 1:
            picture = cv2.warpAffine(picture, warp, (side, side), borderMode=cv2.BORDER_REPLICATE)
        grids[i] = cv2.resize(
            picture[inner, inner].astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA
        )
    flat = grids.reshape(len(grids), -1)
    return _unit(flat - flat.mean(axis=1, keepdims=True)).reshape(grids.shape)


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6), np.float32)


def _index(descriptors: Floats) -> Any:
    index = faiss.IndexHNSWFlat(descriptors.shape[1], 24, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 48
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # several threads would build another graph each time
    try:
        index.add(descriptors)
    finally:
        faiss.omp_set_num_threads(threads)
    return index


def _neighbours(index: Any, descriptors: Floats, kind: str, variant: int) -> _Candidates:
    similarity, rows = index.search(descriptors, _NEIGHBOURS[kind] + 1)
    first, place = np.nonzero((similarity >= MIN_SIMILARITY[kind]) & (rows >= 0))
    second, similarity = rows[first, place], similarity[first, place]
    other = first != second
    return _Candidates(
        first[other],
        second[other].astype(np.int64),
        similarity[other],
        np.full(other.sum(), variant, np.int64),
    )


def _best_of_each_pair(passes: Sequence[_Candidates]) -> _Candidates:
    """Each unordered pair once, in its most similar variant."""
    columns = [
        np.concatenate([getattr(p, name) for p in passes])
        for name in _Candidates.__dataclass_fields__
    ]
    first, second, similarity, _ = columns
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((columns[3], -similarity, high, low))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return _Candidates(*(column[order[new]] for column in columns))


def _aligned_detail(
    first: Pixels, second: Pixels, angle: float, zoom: float, mirrored: bool
) -> float:
    """How well the fine detail agrees after aligning `first` to `second` from a first guess; -1
    where nothing fits.
    """
    side = first.shape[0]
    if mirrored:
        first = cv2.flip(first, 1)
    guess = cv2.invertAffineTransform(
        cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, zoom)
    )
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-4)
    try:
        _, warp = cv2.findTransformECC(
            second, first, guess.astype(np.float32), cv2.MOTION_AFFINE, stop, None, 5
        )
    except cv2.error:  # it says so when it does not converge
        return -1.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(first, warp, (side, side), flags=flags)
    inside = cv2.warpAffine(
        np.ones_like(first), warp, (side, side), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    both = (
        cv2.erode(inside, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        > 0
    )
    if both.mean() < MIN_OVERLAP:
        return -1.0
    fine_first, fine_second = _fine(np.stack([moved, second]))
    return float(_correlation(fine_first[both][np.newaxis], fine_second[both][np.newaxis])[0])


def _fine(pictures: Pixels) -> Floats:
    """float32 (N, S, S): what lies between two blurs, so neither noise of encoding nor light and
    shade.
    """
    out = np.empty(pictures.shape, np.float32)
    for i, picture in enumerate(pictures):
        grey = picture.astype(np.float32)
        out[i] = cv2.GaussianBlur(grey - cv2.GaussianBlur(grey, (0, 0), _SURROUND), (0, 0), _SMOOTH)
    return out


def _correlation(first: Floats, second: Floats) -> Floats:
    """float32 (N,): Pearson's correlation of each row of two arrays (N, ...)."""
    a, b = (
        _unit((x := v.reshape(len(v), -1)) - x.mean(axis=1, keepdims=True)) for v in (first, second)
    )
    return np.asarray((a * b).sum(axis=1), np.float32)


def _joined(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    graph = coo_array(
        (np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count)
    )
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _numbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same groups, numbered from 0 in order of first appearance."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _LARGEST_FLOAT_PARTS):
        yield slice(start, start + _LARGEST_FLOAT_PARTS)
