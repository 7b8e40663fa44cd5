"""The reference work's protocol and an honest one, small, on the same faces with the same network.

The reference work merged the sets, brought each class to one size (drawing from larger ones,
storing augmented copies of smaller ones), and split the result at random: copies of a test picture,
stored or downloaded, were trained on. The honest protocol splits whole groups of copies first, and
balances the train part alone.
"""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import picture_ids
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.input_spec import InputSpec
from edgeemo.data.prepared import Prepared
from edgeemo.errors import DataError
from edgeemo.proof.evaluation import recalls, score
from training.data.splits import ToSplit, grouped_split
from training.fit.augment import augmented_epoch
from training.fit.balance import balanced_rows
from training.fit.recipe import Augmentation
from training.machines.compute import set_seed
from training.networks import NETWORKS
from training.runs.predict import predict
from training.studies.leaks import TRAIN_SHARE, has_copy, official_test, random_split, repeated
from workstation.progress import counted

# What the reference work stored: brightness, zoom, rotation. Nothing is augmented on the fly, in
# either protocol.
STORED = Augmentation(
    flip=0, rotation=10, zoom=0.15, shift=0, brightness=0.2, contrast=0, cutout=0, blur=0
)
LEARNING_RATE, BATCH = 3e-3, 128


@dataclass(frozen=True)
class Faces:
    """Labelled pictures."""

    images: NDArray[np.uint8]
    """uint8 (n, H, W, C)."""
    labels: NDArray[np.int64]
    """int64 (n,), positions in the class names."""
    groups: NDArray[np.int64]
    """int64 (n,), one number for all copies of a picture."""
    class_names: tuple[str, ...]
    """What label numbers mean."""

    def __getitem__(self, rows: NDArray[Any]) -> "Faces":
        return replace(
            self, images=self.images[rows], labels=self.labels[rows], groups=self.groups[rows]
        )


def reference_protocol(faces: Faces, per_class: int, seed: int) -> tuple[Faces, Faces]:
    """Train and test faces: every class brought to `per_class`, then split 60/20/20 at random."""
    everything = balanced(faces, per_class, np.random.default_rng([seed, 10]))
    names = random_split(len(everything.labels), np.random.default_rng([seed, 11]))
    return everything[names == "train"], everything[names == "test"]


def honest_protocol(faces: Faces, per_class: int, seed: int) -> tuple[Faces, Faces]:
    """Train and test faces: whole groups split 60/20/20, then the train part alone balanced.

    It is brought to 60 % of `per_class`.
    """
    ids, count = picture_ids(faces.images), len(faces.labels)
    parts = np.full(count, "", "U10")
    names = grouped_split(
        ToSplit(ids, faces.labels, faces.groups, np.zeros(count, bool), parts), seed
    )
    train = balanced(
        faces[names == "train"], round(TRAIN_SHARE * per_class), np.random.default_rng([seed, 12])
    )
    return train, faces[names == "test"]


def balanced(faces: Faces, per_class: int, rng: np.random.Generator) -> Faces:
    """`per_class` faces of every class: each as it is, then augmented copies in its group.

    Raises:
        DataError: a class has no face.
    """
    for label, name in enumerate(faces.class_names):
        if not (faces.labels == label).any():
            raise DataError(
                f"expected {name} among the pictures to train on, found none; add --no-train"
            )
    rows = balanced_rows(faces.labels, per_class, faces.class_names, rng)
    chosen = faces[rows]
    images, again = chosen.images.copy(), repeated(rows)
    images[again] = augmented_epoch(images[again], STORED, rng).round().astype(np.uint8)
    return replace(chosen, images=images)


def compare(data: Prepared, per_class: int, share: float, epochs: int, seed: int) -> dict[str, Any]:
    """Train one network by each protocol and judge both, as plain JSON values.

    Both get a `share` (0..1) of the groups: with `per_class` a third of the reference work's, a
    third of the groups leaves copies, and how often a class has to be repeated, as they are at full
    size. An official test part, and every copy of one of its pictures, is kept from both, so that
    both can be judged on it. Labels are the ones that the sets give.

    Raises:
        DataError: too few pictures: a class has none to train on, or there is none to test on.
    """
    everything = Faces(data.images, data.given_labels, data.groups, data.class_names)
    official = official_test(data)
    apart = np.unique(data.groups[~has_copy(data.groups, data.groups[official])])
    drawn = np.random.default_rng([seed, 14]).permutation(apart)[: round(share * len(apart))]
    faces, common = everything[has_copy(data.groups, drawn)], everything[official]
    results: dict[str, Any] = {
        "network": "small", "epochs": epochs, "per_class": per_class, "seed": seed,
        "share_of_groups": share, "groups": len(drawn), "pictures": len(faces.labels),
    }  # fmt: skip
    for name, protocol in (("reference", reference_protocol), ("honest", honest_protocol)):
        train, test = protocol(faces, per_class, seed)
        if not len(test.labels):
            raise DataError(
                f"expected more than {count_of(len(faces.labels), 'picture')} to split and train "
                "on; add --no-train"
            )
        model = _fitted(train, data.spec, epochs, seed, name)
        predicted = _predicted(model, test)
        leaked = has_copy(test.groups, train.groups)
        results[name] = {
            "trained_on": len(train.labels),
            "own_test": _card(test, predicted),
            "with_copy": _card(test[leaked], predicted[leaked]),
            "without_copy": _card(test[~leaked], predicted[~leaked]),
            "with_copy_in_the_classes_of_without": _in_the_classes_of(test, predicted, leaked),
            "common_test": _card(common, _predicted(model, common)),
        }
    return results


def _fitted(faces: Faces, spec: InputSpec, epochs: int, seed: int, name: str) -> keras.Model:
    set_seed(seed)
    model = NETWORKS.get("small")(spec, len(faces.class_names))
    steps = -(-len(faces.labels) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 20,
        steps * max(epochs - 1, 1),
        warmup_target=LEARNING_RATE,
        warmup_steps=steps,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(rate, weight_decay=0.05), loss=loss)
    for epoch in counted(range(epochs), f"{name} protocol", "epochs", keep=True):
        order = np.random.default_rng([seed, 13, epoch]).permutation(len(faces.labels))
        images = faces.images[order].astype(np.float32)
        model.fit(images, faces.labels[order], batch_size=BATCH, shuffle=False, verbose=0)
    return model


def _predicted(model: keras.Model, faces: Faces) -> NDArray[np.int64]:
    if not len(faces.labels):
        return np.empty(0, np.int64)
    return np.asarray(predict(model, faces.images).argmax(axis=1), np.int64)


def _card(faces: Faces, predicted: NDArray[np.int64]) -> dict[str, Any] | None:
    if not len(faces.labels):
        return None
    card = score(faces.labels, predicted, faces.class_names)
    mean_recall = float(np.nanmean(recalls(np.array(card.confusion))))
    return {
        "n": card.n,
        "top1": card.top1,
        "interval": list(card.interval),
        "mean_recall": mean_recall,
    }


def _in_the_classes_of(
    faces: Faces, predicted: NDArray[np.int64], leaked: NDArray[np.bool_]
) -> float | None:
    """Top-1 on leaked pictures, weighed so that they have the classes of those that are not leaked.

    None where a class lacks.
    """
    labels = faces.labels
    sizes = np.bincount(labels[~leaked], minlength=len(faces.class_names))
    right = [(predicted == labels)[leaked & (labels == label)] for label in range(len(sizes))]
    weighed = [(size, part) for size, part in zip(sizes, right, strict=True) if size]
    if not weighed or any(not len(part) for _, part in weighed):
        return None
    return float(sum(size * part.mean() for size, part in weighed) / sizes.sum())
