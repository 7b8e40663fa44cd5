"""The same bundles on several machines and runtimes.

Are the answers the same bits and, if not, how far apart?

Faces of the test split; then on each machine, in each environment; then each against the first:

python -m benchmarks.models.parity pictures prepared/ --out FACES.npy
python -m benchmarks.models.parity record nano small --pictures FACES.npy --out aarch64.npz
python -m benchmarks.models.parity compare x86-64.npz aarch64.npz [MORE.npz...] [--markdown]

`record` needs NumPy, click, edgeemo and whichever runtime is there; what is missing is recorded as
missing. FACES.npy holds pictures of people, so it stays out of the repository and travels no
further than it must; a record holds logits alone. scripts/parity-aarch64 does all of it, with an
aarch64 chroot under qemu as the other machine.
"""

import hashlib
import math
import platform
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import check_inputs, open_backend
from edgeemo.backends.litert import open_interpreter
from edgeemo.cli import shell
from edgeemo.cli.bench import machine
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked import npy, strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.manifest import Artifact, Format, Precision
from edgeemo.data.prepared import load_prepared, prepared_files
from edgeemo.errors import DataError, InvalidInput, MissingDependency, MissingFile
from edgeemo.proof.selftest import FLOAT_BOUND, HALF_BOUND, OPTIMIZED_BOUND_LSB
from edgeemo.recognizer import load_bundle

# In logits, as the self-test has them: of float models by precision, and of integer ones whose
# output is float (QDQ).
_FLOAT_BOUNDS: dict[str, float] = {Precision.FP32: FLOAT_BOUND, Precision.FP16: HALF_BOUND}
_QDQ_BOUND = 0.5
_GROUPS = ("faces", "patterns")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Compare what bundles answer on several machines and runtimes, bit by bit.

    \b
    pictures prepared/ --out FACES.npy                     draw faces of the test split, once
    record small --pictures FACES.npy --out aarch64.npz    answer them, on each machine
    compare x86-64.npz aarch64.npz                         each record against the first

    Reference kernels of one version must give the same bits everywhere; optimized ones, and those
    of another version, may differ by the self-test's bound. All of it with an aarch64 chroot:
    scripts/parity-aarch64.
    """


@main.command()
@click.argument("data", metavar="PREPARED", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The .npy file, outside of any repository.",
)
@click.option("--faces", type=click.IntRange(1), default=200, help="How many.")
@click.option("--split", default="test", help="Of which pictures.")
@click.option("--seed", default=0, help="Which of them.")
def pictures(data: Path, out: Path, faces: int, split: str, seed: int) -> None:
    """Draw faces of a prepared folder by chance into a .npy file, uint8 (N, H, W, C)."""
    if any((folder / ".git").exists() for folder in out.resolve().parents):
        raise InvalidInput(
            f"{out}: lies in a git repository, where pictures of people must not go; "
            "choose another --out"
        )
    prepared = load_prepared(data)
    rows = prepared.indices(split)
    check_output(out, prepared_files(data))
    if faces > len(rows):
        raise InvalidInput(
            f"expected at most the {len(rows):,} faces of the split {split!r}, "
            f"received --faces {faces:,}"
        )
    chosen = np.sort(np.random.default_rng(seed).choice(rows, faces, replace=False))
    with written_beside(out) as part, part.open("wb") as file:
        np.save(file, prepared.images[chosen])
    shell.say(f"wrote {out}: {faces} of {len(rows):,} faces of the split {split!r}, seed {seed}")


@main.command()
@click.argument("bundles", nargs=-1, required=True)
@click.option(
    "--pictures",
    "source",
    type=click.Path(path_type=Path),
    required=True,
    help="What `pictures` wrote.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The record; `compare` calls it by its name.",
)
def record(bundles: tuple[str, ...], source: Path, out: Path) -> None:
    """Answer the faces, and each bundle's own self-test patterns, with every artifact of BUNDLES.

    A bundle is a shipped name or a path.

    TFLite files run under reference kernels and under the default ones. One thread.
    """
    check_output(out, (source, *bundles))
    faces = _read_faces(source)
    answers: dict[str, NDArray[np.float32]] = {}
    about: dict[str, Any] = {
        "machine": machine(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "faces": {"n": len(faces), "sha256": hashlib.sha256(faces.tobytes()).hexdigest()},
        "models": {},
        "missing": {},
    }
    for bundle in map(load_bundle, bundles):
        check_inputs(faces, bundle.spec.shape)
        inputs = np.concatenate([faces, bundle.selftest().inputs])
        for artifact in bundle.manifest.artifacts:
            try:
                answered = _answers(bundle, artifact, inputs, about["versions"])
                delegated = artifact.format is Format.TFLITE and has_delegate(bundle, artifact.file)
            except MissingDependency as error:
                about["missing"][artifact.format] = str(error)
                continue
            answers |= answered
            about["models"][f"{bundle.manifest.name} {artifact.file}"] = {
                "sha256": artifact.sha256,
                "scale": artifact.output.scale,
                "format": artifact.format,
                "precision": artifact.precision,
                "delegated": delegated,
            }
            shell.say(
                f"{out.stem}: {bundle.manifest.name} {artifact.file} answered {len(inputs)} "
                "pictures",
                err=True,
            )
    with written_beside(out) as part, part.open("wb") as file:
        np.savez(file, about=np.array(strict.dumps(about)), **answers)  # type: ignore[arg-type]
    shell.say(*Record(out.stem, about, answers).lines())


def _read_faces(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise MissingFile(
            f"{path}: no such file; draw faces first with: "
            "python -m benchmarks.models.parity pictures"
        )
    try:
        faces: NDArray[np.uint8] = npy.parse(path.read_bytes())
    except ValueError as error:
        raise DataError(
            f"{path}: {error}; expected what `python -m benchmarks.models.parity pictures` writes"
        ) from None
    return faces


def _answers(
    bundle: Bundle, artifact: Artifact, inputs: NDArray[np.uint8], versions: dict[str, str]
) -> dict[str, NDArray[np.float32]]:
    """float32 (N, labels) logits by "bundle file kernels".

    Those of an int8 output are whole steps of its scale.
    """
    answers = {}
    for kernels in ("reference", "default") if artifact.format is Format.TFLITE else ("default",):
        backend = open_backend(bundle, artifact.file, reference_kernels=kernels == "reference")
        versions[backend.name] = backend.version
        answers[f"{bundle.manifest.name} {artifact.file} {kernels}"] = backend.infer(inputs)
    return answers


def has_delegate(bundle: Bundle, file: str) -> bool:
    """Whether the default kernels of a .tflite file are XNNPACK's here.

    Where XNNPACK does not know the processor, it stays away without a word, and the runtime's own
    kernels answer.
    """
    interpreter = open_interpreter(bundle.artifact(file)[1], file)
    return any(operator["op_name"] == "DELEGATE" for operator in interpreter._get_ops_details())


@dataclass(frozen=True)
class Record:
    """What one machine and environment answered."""

    name: str
    """The file's, without its ending."""
    about: Mapping[str, Any]
    """Machine, versions, faces, models and what is missing."""
    answers: Mapping[str, NDArray[np.float32]]
    """float32 (faces + patterns, labels) logits by "bundle file kernels"."""

    def split(self, key: str) -> dict[str, NDArray[np.float32]]:
        """The answers of `key` to the faces and to the patterns."""
        n = self.about["faces"]["n"]
        return dict(zip(_GROUPS, (self.answers[key][:n], self.answers[key][n:]), strict=True))

    @property
    def interpreter(self) -> str:
        """Name and version of the TFLite interpreter, empty where there is none."""
        versions = self.about["versions"]
        return " ".join(
            f"{name} {versions[name]}"
            for name in ("ai-edge-litert", "tflite-runtime")
            if name in versions
        )

    @property
    def delegated(self) -> dict[str, bool]:
        """Whether the default kernels were XNNPACK's, by TFLite model."""
        return {
            name: model["delegated"]
            for name, model in self.about["models"].items()
            if model["format"] == Format.TFLITE
        }

    def lines(self) -> Iterator[str]:
        """What answered, in words."""
        versions = ", ".join(
            f"{name} {version}" for name, version in self.about["versions"].items()
        )
        yield f"{self.name}: {self.about['machine']}; {versions}"
        if self.delegated:
            on = [name for name, delegated in self.delegated.items() if delegated]
            yield (
                f"  default kernels are XNNPACK's in {len(on)} of {len(self.delegated)} "
                "TFLite models"
            )
        for kind, reason in self.about["missing"].items():
            yield f"  {kind} is missing: {reason}"


@dataclass(frozen=True)
class Difference:
    """Two sets of logits of the same pictures."""

    equal: float
    """Share of pictures with the same bits."""
    largest: float
    """Largest distance of a logit."""
    same_label: float
    """Share of pictures with the same top label."""


@dataclass(frozen=True)
class Row:
    """One artifact's answers in one record beside those of another."""

    bundle: str
    """Whose artifact."""
    what: str
    """Artifact, kernels and record."""
    against: str
    """Those of what it is compared with."""
    differences: Mapping[str, Difference]
    """On the faces and on the patterns."""
    unit: str
    """Of the distances: "steps" of the output scale, or "logits"."""
    bound: float
    """The largest distance allowed; infinite where nothing is promised."""

    @property
    def passed(self) -> bool:
        """Whether both groups stay within the bound; at a bound of 0 that is equal bits."""
        return all(
            one.largest <= self.bound and (self.bound > 0 or one.equal == 1)
            for one in self.differences.values()
        )


@main.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--markdown", is_flag=True, help="The tables of docs/parity.md instead of lines.")
def compare(records: tuple[Path, ...], markdown: bool) -> None:
    """Compare each of RECORDS with the first, and with the first of the same TFLite interpreter.

    Default kernels are compared with the first record's reference kernels too.

    Exit code 1 when reference kernels of one version of one interpreter do not give the same bits,
    a bound is exceeded, or XNNPACK is off in one record and on in another of the same interpreter.
    """
    opened = [read_record(path) for path in records]
    rows = list(compared(opened))
    shell.say(*(line for one in opened for line in one.lines()), "")
    shell.say(*_markdown(rows) if markdown else map(_line, rows))
    failures = [f"{_line(row)}; the bound is {row.bound:g}" for row in rows if not row.passed]
    failures += [
        f"XNNPACK is not where it is in {other.name}: {one.name}"
        for one in opened
        for other in (opened[0], *_origin(opened, one))
        if _lost(other, one)
    ]
    if failures:
        shell.say("", "FAILED", *failures, err=True)
        raise click.exceptions.Exit(1)


def read_record(path: Path) -> Record:
    """A record as `record` wrote it. Raises MissingFile, DataError."""
    if not path.is_file():
        raise MissingFile(
            f"{path}: no such file; make it with: python -m benchmarks.models.parity record"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            answers = dict(arrays)
        return Record(path.stem, strict.loads(str(answers.pop("about"))), answers)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        raise DataError(
            f"{path}: not readable as a record; make it with: "
            "python -m benchmarks.models.parity record"
        ) from None


def compared(records: list[Record]) -> Iterator[Row]:
    """The rows of `compare`.

    Raises DataError where the records are of other faces or models than the first.
    """
    first = records[0]
    for one in records[1:]:
        _check_same(first, one)
    models = first.about["models"]
    for key in sorted(first.answers, key=lambda key: key.split()[1:], reverse=True):
        bundle, file, kernels = key.split()
        model, exact = models[f"{bundle} {file}"], _exact(first, bundle)
        on_device = model["format"] == Format.TFLITE
        for one in (one for one in records if key in one.answers):
            for other in (first, *_origin(records, one)) if on_device else (first,):
                if other is not one:
                    yield _row(one, key, other, key, model)
            if exact and kernels == "default" and exact.split()[1] == file:
                yield _row(one, key, first, exact, model)
        if exact and exact.split()[1] != file:
            # Two runtimes' own models: nothing is promised but by the gate (docs/quantization.md).
            yield replace(_row(first, key, first, exact, model), bound=math.inf)


def _exact(record: Record, bundle: str) -> str | None:
    """The key of a bundle's integer TFLite model under reference kernels, if it was recorded."""
    for name, model in record.about["models"].items():
        integer = Precision(model["precision"]).is_integer
        if name.split()[0] == bundle and integer and model["format"] == Format.TFLITE:
            return f"{name} reference"
    return None


def _origin(records: list[Record], one: Record) -> list[Record]:
    """The first record of the same interpreter, where that is not the first of all."""
    same = next(record for record in records if record.interpreter == one.interpreter)
    return [] if same is records[0] else [same]


def _check_same(first: Record, other: Record) -> None:
    if first.about["faces"] != other.about["faces"]:
        raise DataError(
            f"{other.name} was recorded on other faces than {first.name}; "
            "record both with one --pictures"
        )
    for name, model in other.about["models"].items():
        if first.about["models"].get(name, model)["sha256"] != model["sha256"]:
            raise DataError(
                f"{name} is another model in {other.name} than in {first.name}; "
                "record both with one bundle"
            )


def _row(one: Record, key: str, other: Record, against: str, model: Mapping[str, Any]) -> Row:
    bundle, _, kernels = key.split()
    step, precision = model["scale"], model["precision"]
    # Another version may round otherwise: LiteRT 2.3 does in FULLY_CONNECTED, once in a thousand
    # values (docs/parity.md).
    same = (
        precision not in _FLOAT_BOUNDS
        and kernels == "reference"
        and one.interpreter == other.interpreter
    )
    bound = _FLOAT_BOUNDS.get(precision, OPTIMIZED_BOUND_LSB if step else _QDQ_BOUND)
    ours, theirs = one.split(key), other.split(against)
    return Row(
        bundle=bundle,
        what=_what(key, one),
        against=_what(against, other),
        differences={group: difference(ours[group], theirs[group], step) for group in _GROUPS},
        unit="steps" if step else "logits",
        bound=0.0 if same else bound,
    )


def _what(key: str, one: Record) -> str:
    bundle, file, kernels = key.split()
    on_device = one.about["models"][f"{bundle} {file}"]["format"] == Format.TFLITE
    return f"`{file}` {kernels}, {one.name}" if on_device else f"`{file}`, {one.name}"


def difference(a: NDArray[np.float32], b: NDArray[np.float32], step: float | None) -> Difference:
    """Of logits (N, labels); `largest` is in steps of the scale `step`, else in logits."""
    largest = float(np.abs(a.astype(np.float64) - b).max())
    return Difference(
        equal=float((a == b).all(axis=1).mean()),
        # int8 outputs are whole steps: float32 must not make 2 of 2.0000001.
        largest=round(largest / step, 3) if step else largest,
        same_label=float((a.argmax(axis=1) == b.argmax(axis=1)).mean()),
    )


def _lost(first: Record, other: Record) -> bool:
    """Whether the same interpreter ran with XNNPACK in one record and without in the other."""
    return first.interpreter == other.interpreter and any(
        first.delegated.get(model, on) != on for model, on in other.delegated.items()
    )


def _line(row: Row) -> str:
    groups = [
        f"{group} {_percent(one.equal)} equal bits, {_distance(one, row)}, "
        f"{_percent(one.same_label)} same label"
        for group, one in row.differences.items()
    ]
    return f"{row.bundle}: {row.what} against {row.against}: {'; '.join(groups)}"


def _distance(one: Difference, row: Row) -> str:
    if row.unit == "logits":
        return f"{one.largest:.2g} logits"
    return f"{one.largest:.0f} step" + "s" * (round(one.largest) != 1)


def _percent(share: float) -> str:
    """Rounded down, so that 100 % is all of them."""
    return f"{math.floor(1000 * share) / 10:g} %"


def _markdown(rows: list[Row]) -> Iterator[str]:
    """A table for each group of pictures, the bundles side by side.

    In a cell: equal bits, largest distance of a logit, same label.
    """
    bundles = list(dict.fromkeys(row.bundle for row in rows))
    for group in _GROUPS:
        yield f"| {group} | against | " + " | ".join(f"`{bundle}`" for bundle in bundles) + " |"
        yield "|---|---|" + "---|" * len(bundles)
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for row in rows:
            one = row.differences[group]
            text = f"{_percent(one.equal)}, {_distance(one, row)}, {_percent(one.same_label)}"
            cells.setdefault((row.what, row.against), {})[row.bundle] = (
                text if row.passed else f"**{text}**"
            )
        for (what, against), by_bundle in cells.items():
            yield (
                f"| {what} | {against} | "
                + " | ".join(by_bundle.get(bundle, "") for bundle in bundles)
                + " |"
            )
        yield ""


if __name__ == "__main__":
    shell.run(main, "benchmarks.models.parity")
