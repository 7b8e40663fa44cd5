"""edgeemo evaluate"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeemo.cli.options import (
    PlainPath,
    artifact_option,
    bundle_argument,
    isolated_option,
    prior_option,
    threads_option,
)
from edgeemo.cli.progress import progress
from edgeemo.cli.shell import say
from edgeemo.cli.tables import say_wrapped, scorecard_lines
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.operating_point import DEFAULT, Prior
from edgeemo.errors import BundleError, MissingFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeemo.contract.bundle import Bundle
    from edgeemo.data.labelled import LabelledInputs
    from edgeemo.proof.agreement import Agreement
    from edgeemo.proof.evaluation import Scorecard
    from edgeemo.proof.standings import Standing
    from edgeemo.recognizer import Recognizer


@click.command()
@bundle_argument()
@click.argument("data")
@artifact_option()
@isolated_option()
@prior_option()
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    help="Which part, where DATA has parts.",
)
@threads_option()
@click.option(
    "--json",
    "json_path",
    type=PlainPath(),
    metavar="OUT.json",
    help="Also write the result here.",
)
@click.option(
    "--against",
    metavar="report|REPORT.json",
    help=(
        "Repeat the check after quantization here: `report` is the bundle's own. Exit 0 when at"
        " least 99.5 % of the answers are those that it lists and top-1 lies within its interval,"
        " else 1 with the difference."
    ),
)
def evaluate(
    bundle: str,
    data: str,
    artifact: str | None,
    isolated: bool,
    prior: Prior,
    split: str,
    threads: int,
    json_path: Path | None,
    against: str | None,
) -> None:
    """Measure a bundle's accuracy on labelled pictures, through the same code that `predict` runs.

    BUNDLE is a shipped name or a .edgeemo file. DATA is a prepared folder, or a folder or zip
    archive of cropped faces in <class>/ folders named after the bundle's labels, or a known data
    set's words for them. Where a prepared folder holds FER+ votes, a second line counts the faces
    on which more than half of the taggers agree.

    \b
    edgeemo evaluate small test.zip
    edgeemo evaluate mine.edgeemo prepared/ --split validation --json out.json
    edgeemo evaluate mine.edgeemo prepared/ --against report
    """
    from edgeemo.contract.checked.outputs import check_output
    from edgeemo.data.prepared import prepared_files
    from edgeemo.proof.evaluation import score
    from edgeemo.proof.standings import standing_lines
    from edgeemo.recognizer import Recognizer

    if against and prior != DEFAULT:
        raise click.UsageError("--against compares answers under the default prior; drop --prior")
    if json_path:
        check_output(json_path, (bundle, data, *prepared_files(data), against), option="--json")
    with Recognizer(
        bundle,
        detector="whole",
        artifact=artifact,
        threads=threads,
        isolated=isolated,
        prior=prior,
    ) as recognizer:
        labelled, logits = _logits(recognizer, data, split)
        backend, opened = recognizer.backend, recognizer.bundle
    assert opened is not None
    answers = logits.argmax(axis=1)
    card = score(labelled.labels, answers, opened.labels)
    ferplus = _against_majority(labelled, answers, opened.labels)
    _print_cards(card, ferplus, f"{bundle} {backend.artifact} on {data}")
    by_prior = _by_prior(labelled, logits, opened, prior)
    for against_what, standings in by_prior.items():
        say(f"by prior, on the {against_what}:", *standing_lines(standings))
    _print_promises(opened, backend.artifact)
    compared = _compared(opened, against, backend.artifact, labelled, answers) if against else None
    if compared:
        say_wrapped(*_agreement_lines(compared))
    if json_path:
        result = asdict(card) | {
            "labels": list(opened.labels),
            "artifact": backend.artifact,
            "split": split,
            "ferplus_majority": asdict(ferplus) if ferplus else None,
            "backend": f"{backend.name} {backend.version}",
            "by_prior": {
                what: {name: asdict(at) for name, at in standings.items()}
                for what, standings in by_prior.items()
            },
            "left_out": labelled.left_out,
            "against": asdict(compared) if compared else None,
        }
        _write(json_path, result)
    if compared and compared.faults:
        raise BundleError(
            f"{bundle} does not answer here as its report says: {'; '.join(compared.faults)}"
        )


def _logits(
    recognizer: "Recognizer", data: str, split: str
) -> tuple["LabelledInputs", "NDArray[np.float32]"]:
    """The labelled pictures, and the bundle's logits (N, labels) for them."""
    import numpy as np

    from edgeemo.data.labelled import load_inputs

    labelled = load_inputs(data, split, recognizer.spec, recognizer.labels)
    for reason, count in labelled.left_out.items():
        say(f"warning: {count_of(count, 'file')} left out: {reason}", err=True)
    logits: list[NDArray[np.float32]] = []
    with progress("evaluating", len(labelled.labels)) as bar:
        for start in range(0, len(labelled.labels), 64):
            part = labelled.inputs[start : start + 64]
            logits.append(recognizer.infer(part))
            bar.advance(len(part))
    return labelled, np.concatenate(logits)


def _by_prior(
    labelled: "LabelledInputs", logits: "NDArray[np.float32]", bundle: "Bundle", prior: Prior
) -> dict[str, dict[str, "Standing"]]:
    """What the logits (N, labels) score by prior, against the labels and FER+'s majority; of a
    prior that was asked for, by that one alone.
    """
    from edgeemo.proof.standings import standing, standings

    truths = {"labels": labelled.labels}
    if labelled.majority is not None and (labelled.majority >= 0).any():
        truths["FER+ majority"] = labelled.majority
    result = {}
    for what, truth in truths.items():
        known = truth >= 0
        at, right = logits[known], truth[known]
        result[what] = (
            standings(at, right, bundle.manifest.operating_point, bundle.labels)
            if prior == DEFAULT
            else {prior if isinstance(prior, str) else "given": standing(at, right)}
        )
    return result


def _against_majority(
    labelled: "LabelledInputs", answers: "NDArray[np.int64]", class_names: tuple[str, ...]
) -> "Scorecard | None":
    """How the answers meet FER+'s majority; None where no votes are known."""
    from edgeemo.proof.evaluation import score

    majority = labelled.majority
    if majority is None or not (majority >= 0).any():
        return None
    known = majority >= 0
    return score(majority[known], answers[known], class_names)


def _print_cards(card: "Scorecard", ferplus: "Scorecard | None", title: str) -> None:
    say_wrapped(*scorecard_lines(card, title))
    if ferplus:
        say_wrapped(next(iter(scorecard_lines(ferplus, f"{title}, against the FER+ majority"))))


def _print_promises(bundle: "Bundle", artifact: str) -> None:
    for promise in bundle.manifest.evaluation:
        if promise.artifact == artifact:
            sets = ", ".join(bundle.manifest.data.sets)
            say_wrapped(
                f"its report promises: n {promise.n:,} ({sets} {promise.split})  "
                f"top-1 {promise.top1:.2%}  macro-F1 {promise.macro_f1:.2%}  "
                f"(float {promise.float_top1:.2%})"
            )


def _write(path: Path, result: dict[str, Any]) -> None:
    from edgeemo.contract.checked import strict
    from edgeemo.contract.checked.files import translated, written_beside

    with translated(path, "--json"), written_beside(path) as part:
        part.write_text(strict.dumps(result))
    say(f"wrote {path}")


def _compared(
    bundle: "Bundle",
    against: str,
    artifact: str,
    labelled: "LabelledInputs",
    answers: "NDArray[np.int64]",
) -> "Agreement":
    """What was answered here beside the report that --against names, and what is wrong with the
    bundle's own claims.
    """
    from dataclasses import replace

    from edgeemo.proof.agreement import Answered, agree
    from edgeemo.proof.provenance import report_faults

    own = against == "report"
    report = bundle.report() if own else _read_report(Path(against))
    where = f"the report of {bundle.path.name}" if own else against
    here = Answered(labelled.inputs, labelled.labels, answers, bundle.labels)
    compared = agree(report, artifact, here, where)
    return replace(compared, faults=(*report_faults(bundle), *compared.faults)) if own else compared


def _read_report(path: Path) -> dict[str, Any]:
    from edgeemo.contract.checked import strict
    from edgeemo.contract.checked.reading import read_regular, why_no_file

    if why := why_no_file(path):
        raise MissingFile(
            f"{path}: {why}; expected `report` for the bundle's own, or a report.json"
        )
    try:
        report = strict.loads(read_regular(path, strict.MAX_BYTES))
    except (ValueError, OSError) as error:
        raise BundleError(
            f"{path}: not a report ({error}); take the one that python -m export build wrote"
        ) from None
    if not isinstance(report, dict):
        raise BundleError(f"{path}: expected a report, received another JSON value")
    return report


def _agreement_lines(compared: "Agreement") -> Iterator[str]:
    low, high = compared.interval
    yield (
        f"against its report: {compared.n:,} of its {count_of(compared.promised_n, 'picture')}"
        + (f" ({compared.unknown:,} here that it does not know)" if compared.unknown else "")
        + f"  same label {compared.same:.2%}  top-1 {compared.top1:.2%}, report"
        f" {compared.promised_top1:.2%} ({low:.2%} to {high:.2%}): "
        + ("it does not agree" if compared.faults else "it agrees")
    )
    yield from (f"  {fault}" for fault in compared.faults)
