"""Two bundles on the same pictures, so that "better" means something."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgeemo.backends import open_backend
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import DataError, SpecMismatch
from edgeemo.proof.evaluation import PairedDrop, Scorecard, paired_drop, score


@dataclass(frozen=True)
class Comparison:
    """Bundles A and B against one kind of labels; `drop` is from A to B, so a negative one says that B is better.

    `class_drops` are the same of each class's recall, by label.
    """

    labels: str
    a: Scorecard
    b: Scorecard
    drop: PairedDrop
    class_drops: dict[str, PairedDrop]

    @property
    def verdict(self) -> str:
        """In words, by the 90 % interval of the paired difference."""
        if self.drop.upper95 < 0:
            return "B is better"
        if self.drop.lower95 > 0:
            return "A is better"
        return "no difference that these pictures can show"


def compare(
    paths: tuple[Path, Path], data_path: Path, *, artifact: str | None = None, split: str = "test"
) -> tuple[list[str], list[Comparison]]:
    """Both bundles' titles, and a comparison for each kind of labels that the prepared folder has.

    Raises:
        SpecMismatch: the bundles see pictures differently, or the data was prepared for another input spec.
        DataError: one of them was trained on another split of the data, whose test pictures it may have seen.
        EdgeemoError: a bundle or the data is damaged or missing.
    """
    bundles = [read_bundle(path) for path in paths]
    specs = [bundle.manifest.input_fingerprint for bundle in bundles]
    if specs[0] != specs[1]:
        raise SpecMismatch(
            f"{paths[0]} was made for the input spec {specs[0]}, {paths[1]} for {specs[1]}; compare like with like"
        )
    data = load_prepared(data_path, bundles[0].manifest.input_spec)
    for bundle in bundles:
        _check_split(bundle, data, split)
    rows = data.indices(split)
    pictures = np.asarray(data.images[rows])
    titles, answers = zip(
        *(_answers(bundle, artifact, pictures) for bundle in bundles), strict=True
    )
    found = [_comparison("labels of the data set", data.labels[rows], answers)]
    if data.votes is not None:
        majority, known = ferplus_majority(group_votes(data)[rows])
        if known.any():
            found.append(
                _comparison("FER+ majority", majority[known], [answer[known] for answer in answers])
            )
    return list(titles), found


def _check_split(bundle: Bundle, data: Prepared, split: str) -> None:
    if split == "test" and bundle.manifest.data.split_hash != data.split_hash:
        raise DataError(
            f"{bundle.path} was trained on another split than {data.path} holds (hashes {bundle.manifest.data.split_hash[:12]} and "
            f"{data.split_hash[:12]}), so it may have seen these pictures; compare on the data that both were trained on"
        )


def _answers(
    bundle: Bundle, artifact: str | None, pictures: NDArray[np.uint8]
) -> tuple[str, NDArray[np.int64]]:
    backend = open_backend(bundle, artifact)
    title = f"{bundle.manifest.name} {bundle.manifest.version} {backend.artifact}"
    starts = tqdm(range(0, len(pictures), 64), title, unit="batch", leave=False)
    return title, np.concatenate(
        [backend.infer(pictures[i : i + 64]).argmax(axis=1) for i in starts]
    )


def _comparison(
    name: str,
    labels: NDArray[np.int64],
    answers: tuple[NDArray[np.int64], ...] | list[NDArray[np.int64]],
) -> Comparison:
    right = [answer == labels for answer in answers]
    a, b = (score(labels, answer) for answer in answers)
    classes = {
        label: paired_drop(right[0][labels == i], right[1][labels == i])
        for i, label in enumerate(a.per_class_recall)
        if (labels == i).any()
    }
    return Comparison(name, a, b, paired_drop(right[0], right[1]), classes)
