"""From a folder of faces to a family: what `python -m training family` does."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import RunError
from training.fast.faces import FaceSet, Part, load_faces
from training.fast.family import PLAN, Family, Options, made_of
from training.fast.job import remember
from training.fast.plan import students_part
from training.fast.results import write_results
from training.fast.students import Studying, chosen_students
from training.fast.teaching import Teaching
from training.fast.xla import check_backend, keep_compiled
from training.runs.run import check_free


def run_family(data: Path, out: Path, given: dict[str, Any], say: Callable[[str], None]) -> str:
    """Train a family, or with given["plan"] plan it and write nothing; returns the table of
    results, or the plan.

    `given` are the options of the command by name.
    """
    start = time.monotonic()
    options = Options(
        budget=given["budget"],
        teacher=given["teacher"],
        networks=tuple(given["networks"]),
        seed=given["seed"],
    )
    cache = os.environ.get("EDGEEMO_COMPILED", "")
    if cache:
        keep_compiled(cache)
    faces = load_faces(data, given["unlabelled"])
    if given["faces"]:
        faces = fewer(faces, given["faces"])
    check_begun(out, options, faces)
    family = Family(faces, out, options, say, start)
    try:
        return _made(family, given["plan"])
    finally:
        family.close()


def _made(family: Family, plan_alone: bool) -> str:
    """The table of results, or with `plan_alone` the plan."""
    faces, out = family.faces, family.out
    counts = f"{count_of(len(faces.train.images), 'face')} to fit in a list of {len(family.rows):,}"
    family.say(f"on {check_backend()}: {counts}, and {family.extra:,} without labels")
    teaching, studying = Teaching(family), Studying(family)
    plan = teaching.planned(keep=not plan_alone)
    if plan_alone:
        left = students_part(family.left())
        students = studying.planned(studying.costs(), left)
        lines = [f"{name}: {of_student}" for name, of_student in students.items()]
        return "\n".join([f"teachers: {plan}", *(lines or ["no time is left for students"])])
    rows: list[dict[str, Any]] = []
    taught = teaching.taught(plan, rows)
    write_results(out, rows)
    studying.listen(taught, rows)
    studying.study(studying.costs(), rows)
    family.say("done")
    return write_results(out, rows)


def check_begun(out: Path, options: Options, faces: FaceSet) -> None:
    """Raise RunError where `out` holds a family of other choices, or runs to be replaced."""
    if not (out / PLAN).is_file():
        for student in chosen_students(options.networks, options.variants):
            for name in (student.name, f"{student.name}-float"):
                check_free(out / name)
        return
    begun = remember(out, PLAN, dict).get("made_of", {})
    changed = ", ".join(
        f"{name} {begun.get(name)} there and {value} here"
        for name, value in made_of(options, faces).items()
        if begun.get(name) != value
    )
    if changed:
        raise RunError(
            f"{out}: was begun with other choices ({changed}); go on with the same ones, or choose "
            "another --out"
        )


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
