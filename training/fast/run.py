"""From a folder of faces to a family: what `python -m training family` does."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.fast.faces import FaceSet, Part, load_faces
from training.fast.family import Family, Options, Teaching
from training.fast.plan import plan_students
from training.fast.results import write_results
from training.fast.students import Studying, chosen_students
from training.fast.xla import check_backend, keep_compiled


def run_family(data: Path, out: Path, given: dict[str, Any], say: Callable[[str], None]) -> str:
    """Train a family, or with given["plan"] plan it; returns the table of results, or the plan.

    `given` are the options of the command by name.
    """
    options = Options(
        budget=given["budget"],
        teacher=given["teacher"],
        networks=tuple(given["networks"].split(",")),
        seed=given["seed"],
    )
    cache = os.environ.get("EDGEEMO_COMPILED", "")
    if cache:
        keep_compiled(cache)
    faces = load_faces(data, given["unlabelled"])
    if given["faces"]:
        faces = fewer(faces, given["faces"])
    family = Family(faces, out, options, say)
    counts = f"{len(faces.train.images):,} faces to fit in a list of {len(family.rows):,}"
    family.say(f"on {check_backend()}: {counts}, and {family.extra:,} without labels")
    teaching, studying = Teaching(family), Studying(family)
    plan = teaching.planned()
    if given["plan"]:
        costs = studying.costs()
        jobs = {
            one.name: costs[one.network]
            for one in chosen_students(options.networks, options.variants)
        }
        return f"{plan}\nstudents: {plan_students(family.left() * 0.43, jobs)}"
    rows: list[dict[str, Any]] = []
    taught = teaching.taught(plan, rows)
    write_results(out, rows)
    studying.listen(taught, rows)
    studying.study(studying.costs(), rows)
    family.say("done")
    return write_results(out, rows)


def fewer(faces: FaceSet, count: int) -> FaceSet:
    """A set with `count` training faces, as many for validation at most and no more without labels,
    drawn by a fixed seed.
    """
    rng = np.random.default_rng(0)

    def some(part: Part) -> Part:
        rows = np.sort(rng.permutation(len(part.images))[:count])
        return Part(part.images[rows], part.labels[rows], part.votes[rows])

    train, validation = some(faces.train), some(faces.validation)
    return replace(
        faces, train=train, validation=validation, unlabelled=faces.unlabelled[: count // 4]
    )
