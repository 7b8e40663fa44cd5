"""Two bundles on the same pictures, so that "better" means something."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import open_backend
from edgeemo.contract.answers import picture_ids
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.labels import check_same_labels
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import DataError, SpecMismatch
from edgeemo.proof.evaluation import PairedDrop, Scorecard, paired_drop, score
from edgeemo.trust import read_bundle
from export.convert.artifacts import infer
from workstation.seen import unlisted


@dataclass(frozen=True)
class Comparison:
    """Bundles A and B against one kind of labels."""

    labels: str
    """Which labels, in words."""
    a: Scorecard
    """A's scorecard."""
    b: Scorecard
    """B's."""
    drop: PairedDrop
    """From A to B, so a negative one says that B is better."""
    class_drops: dict[str, PairedDrop]
    """The same of each class's recall, by label."""

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
        SpecMismatch: the bundles have other labels or see pictures differently, or the data was
            prepared for another input spec.
        DataError: the data has other labels, or one of the bundles was trained on another split of
            it, whose test pictures it may have seen.
        EdgeemoError: a bundle or the data is damaged or missing.
    """
    bundles = [read_bundle(path) for path in paths]
    a, b = bundles
    if a.spec != b.spec:
        raise SpecMismatch(
            f"{a.path} was made for the input spec {a.spec.fingerprint()} ({a.spec.size}), "
            f"{b.path} for {b.spec.fingerprint()} ({b.spec.size}); compare like with like"
        )
    check_same_labels(b.labels, a.labels, str(b.path), SpecMismatch)
    data = load_prepared(data_path, a.spec, a.labels)
    for bundle in bundles:
        _check_split(bundle, data, split)
    rows = data.indices(split)
    pictures = np.asarray(data.images[rows])
    titles, answers = zip(
        *(_answers(bundle, artifact, pictures) for bundle in bundles), strict=True
    )
    names = data.class_names
    comparisons = [_comparison("labels of the data set", data.labels[rows], answers, names)]
    if data.votes is not None:
        majority, known = ferplus_majority(group_votes(data)[rows], names)
        if known.any():
            of_known = [answer[known] for answer in answers]
            comparisons.append(_comparison("FER+ majority", majority[known], of_known, names))
    return list(titles), comparisons


def _check_split(bundle: Bundle, data: Prepared, split: str) -> None:
    if split != "test":
        return
    count = unlisted(bundle, data.split_hash, picture_ids(data.images[data.indices(split)]))
    if count:
        raise DataError(
            f"{bundle.path} was trained on another split than {data.path} holds (hashes "
            f"{bundle.manifest.data.split_hash[:12]} and {data.split_hash[:12]}), so it may have "
            f"seen {count:,} of these pictures; compare on the data that both were trained on"
        )


def _answers(
    bundle: Bundle, artifact: str | None, pictures: NDArray[np.uint8]
) -> tuple[str, NDArray[np.int64]]:
    backend = open_backend(bundle, artifact)
    title = f"{bundle.manifest.name} {bundle.manifest.version} {backend.artifact}"
    return title, infer(backend, pictures, progress=True).argmax(axis=1)


def _comparison(
    name: str,
    labels: NDArray[np.int64],
    answers: Sequence[NDArray[np.int64]],
    class_names: Sequence[str],
) -> Comparison:
    right = [answer == labels for answer in answers]
    a, b = (score(labels, answer, class_names) for answer in answers)
    classes = {
        label: paired_drop(right[0][labels == i], right[1][labels == i])
        for i, label in enumerate(class_names)
        if (labels == i).any()
    }
    return Comparison(name, a, b, paired_drop(right[0], right[1]), classes)
