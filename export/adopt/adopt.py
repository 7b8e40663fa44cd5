"""The work of `python -m export adopt`: a model from elsewhere through ladder and gate."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.reading import why_no_file
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Format, Precision
from edgeemo.contract.run import RunConfig
from edgeemo.data.prepared import Prepared
from edgeemo.errors import MissingFile, ModelError
from export.adopt.checks import check_same_scores, near_copies, settled_scaling
from export.adopt.foreign import Foreign
from export.adopt.network import AdoptedNetwork
from export.adopt.pictures import (
    VALIDATION,
    drawn_for_calibration,
    load_labelled,
    load_unlabelled,
)
from export.adopt.read import read_model
from export.adopt.wanted import Notes, Wanted, with_scaling
from export.build import Settings, prove
from export.convert.artifacts import FP32_ONNX, Candidate, Kind, infer, open_candidate
from export.convert.calibration import SPLIT, with_ends
from export.job import Job, Pictures
from export.manifest import Named
from export.profiles import PROFILES, Profile
from export.prove.measurement import Measurement
from export.prove.selftest import selftest_inputs


@dataclass(frozen=True)
class Request:
    """What `adopt` is asked for."""

    model: Path
    """The model's file or folder."""
    wanted: Wanted
    """What the command line says of it."""
    data: Path
    """Labelled pictures."""
    reference: Path | None = None
    """The float model of an int8 one."""
    calibration: Path | None = None
    """Pictures without labels to calibrate with."""
    settings: Settings = field(default_factory=Settings)
    """How it is made and judged."""


def adopt(request: Request, out: Path, named: Named) -> tuple[Bundle, dict[str, Measurement]]:
    """Bring a model from elsewhere into the contract and through the gate, and write `out`.

    Returns and raises what `export.build.build` does; ModelError too, of the model's file.
    """
    _check_files(request)
    notes = Notes()
    model = read_model(request.model, request.wanted, notes)
    given = None
    if model.is_int8:
        given, model = model, _reference(model, request, notes)
    elif request.reference is not None:
        raise ModelError(
            f"{request.model}: is a float model, of which int8 is made here; leave --reference out"
        )
    labelled = load_labelled(
        request.data,
        model.size,
        request.wanted.labels,
        request.settings.seed,
        _needed(request, given),
    )
    for reason, count in labelled.left_out.items():
        say(f"warning: {count_of(count, 'file')} left out: {reason}", err=True)
    scaling = settled_scaling(model, given, request.wanted, labelled.data, notes)
    spec = with_scaling(model.size, scaling)
    for line in notes.read:
        say(f"read: {line}")
    for line in notes.assumed:
        say(f"assumed: {line}")
    say(f"pictures: {labelled.words}")
    job = _job(request, model, given, replace(labelled.data, spec=spec), notes)
    return prove(job, out, named, request.settings.gate_min)


def _check_files(request: Request) -> None:
    """Raise MissingFile for what the command line names and is not there, used or not."""
    for file in map(Path, request.wanted.custom):
        if why := why_no_file(file):
            raise MissingFile(f"--custom {file}: {why}; check the path")


def _needed(request: Request, given: Foreign | None) -> tuple[str, ...]:
    """The parts of the data that are wanted beside the test part."""
    if given is not None:
        return ()
    return (VALIDATION,) if request.calibration else (SPLIT, VALIDATION)


def _reference(given: Foreign, request: Request, notes: Notes) -> Foreign:
    if request.reference is None:
        raise ModelError(
            f"{request.model}: is int8 already, and is judged against the float model that it was "
            "made from: give that with --reference FLOAT, or adopt it instead"
        )
    reference = read_model(request.reference, request.wanted, Notes())
    if reference.is_int8:
        raise ModelError(f"{request.reference}: expected a float model, received an int8 one")
    if reference.size.shape != given.size.shape:
        raise ModelError(
            f"{request.reference}: takes {reference.size.size}, {request.model} takes "
            f"{given.size.size}; give the float model that it was made from"
        )
    return reference


def _job(
    request: Request,
    model: Foreign,
    given: Foreign | None,
    data: Prepared,
    notes: Notes,
) -> Job:
    spec = data.spec
    profile = _possible(PROFILES.get(request.settings.profile), model, given)
    rows = {part: np.flatnonzero(data.splits == part) for part in ("validation", "test")}
    images = {part: np.asarray(data.images[of]) for part, of in rows.items()}
    float_file = _float_candidate(model)
    backend = open_candidate(float_file, spec, request.wanted.labels)
    logits = {part: infer(backend, of, progress=True) for part, of in images.items() if len(of)}
    check_same_scores(model, spec, images["test"], logits["test"])
    pictures = {
        part: Pictures(images[part], logits[part], data.labels[rows[part]]) for part in logits
    }
    calibration = _calibration(request, data, spec, given)
    copies = near_copies(images["test"])
    say(f"near copies: {copies}")
    about = _about(request, model, data, notes) | {"near_copies": copies}
    config = RunConfig(
        recipe={"model": model.path.stem[:64], "training_data": "unknown"},
        labels=request.wanted.labels,
        input_spec=spec,
        split_hash=data.split_hash,
        data_sets=(request.data.name,),
    )
    run = AdoptedNetwork(
        model.path,
        config,
        logits["test"],
        pictures["test"].labels,
        {"adopted": about},
        f"Training data unknown: the model may have seen the test pictures. Near copies: {copies}.",
        model.tflite,
        model.onnx,
        given.tflite if given else None,
    )
    return Job(
        run,
        data,
        profile,
        request.settings.steps,
        request.settings.seed,
        calibration,
        selftest_inputs(request.settings.seed, spec),
        pictures.get("validation", pictures["test"]),
        pictures["test"],
        _calibrated_on(request, given),
    )


def _calibrated_on(request: Request, given: Foreign | None) -> str:
    if given is not None:
        return "unknown"
    return f"pictures of {request.calibration.name}" if request.calibration else SPLIT


def _possible(profile: Profile, model: Foreign, given: Foreign | None) -> Profile:
    """The profile's artifacts that can be made of the model; says which cannot."""
    formats = {Format.TFLITE} if model.tflite else set()
    formats |= {Format.ONNX} if model.onnx and given is None else set()
    artifacts = tuple(kind for kind in profile.artifacts if kind.format in formats)
    if not artifacts:
        raise ModelError(
            f"{model.path}: none of the files of profile {profile.name} "
            f"({', '.join(profile.files)}) can be made of it; choose another --profile"
        )
    if missing := [kind.file for kind in profile.artifacts if kind not in artifacts]:
        say(f"not made, because {model.path.name} cannot become it: {', '.join(missing)}")
    return replace(profile, artifacts=artifacts)


def _float_candidate(model: Foreign) -> Candidate:
    if model.onnx is not None:
        return Candidate(FP32_ONNX, model.onnx)
    assert model.tflite is not None
    return Candidate(Kind(Precision.FP32, Format.TFLITE), model.tflite)


def _calibration(
    request: Request, data: Prepared, spec: InputSpec, given: Foreign | None
) -> NDArray[np.uint8]:
    if given is not None:
        return np.empty((0, *spec.shape), np.uint8)
    if request.calibration is not None:
        return with_ends(load_unlabelled(request.calibration, spec, request.settings.seed))
    return with_ends(drawn_for_calibration(data, request.settings.seed))


def _about(request: Request, model: Foreign, data: Prepared, notes: Notes) -> dict[str, Any]:
    """What the report says of a model from elsewhere."""
    return {
        "file": request.model.name,
        "reference": request.reference.name if request.reference else None,
        "sha256": hashlib.sha256(model.tflite or model.onnx or b"").hexdigest(),
        "training_data": "unknown",
        "read": notes.read,
        "assumed": notes.assumed,
        "split": str(data.dataset["split"]),
    }
