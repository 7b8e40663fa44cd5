"""edgeemo evaluate"""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from edgeemo.cli.options import artifact_option, threads_option


@click.command()
@click.argument("bundle")
@click.argument("data")
@artifact_option()
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    help="Which part, where DATA has parts.",
)
@threads_option()
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="OUT.json", help="Also write the result here."
)
def evaluate(bundle: str, data: str, artifact: str | None, split: str, threads: int, json_path: Path | None) -> None:
    """Measure a bundle's accuracy on labelled pictures, through the same code that `predict` runs.

    BUNDLE is a shipped name or a .edgeemo file. DATA is a prepared folder, or a folder or zip archive of cropped faces
    in <class>/ folders (angry, neutral, disgust, fear, happy, sad, surprise, or a known data set's words for them).
    Where a prepared folder holds FER+ votes, a second line counts the faces on which more than half of the taggers agree.
    """
    import numpy as np

    from edgeemo.cli.tables import scorecard_lines
    from edgeemo.contract import strict
    from edgeemo.contract.files import written_beside
    from edgeemo.contract.labels import LABELS
    from edgeemo.evaluation import score
    from edgeemo.labelled import load_inputs
    from edgeemo.recognizer import Recognizer

    with Recognizer(bundle, detector="whole", artifact=artifact, threads=threads) as recognizer:
        labelled = load_inputs(data, split, recognizer.spec)
        for reason, count in labelled.left_out.items():
            click.echo(f"warning: {count:,} files left out: {reason}", err=True)
        predicted: list[int] = []
        with click.progressbar(length=len(labelled.labels), label="evaluating", file=sys.stderr) as bar:
            for start in range(0, len(labelled.labels), 64):
                part = labelled.inputs[start : start + 64]
                predicted += recognizer.infer(part).argmax(axis=1).tolist()
                bar.update(len(part))
        backend = recognizer.backend
        said = np.array(predicted, np.int64)
        card = score(labelled.labels, said)
    title = f"{bundle} {backend.artifact} on {data}"
    for line in scorecard_lines(card, title):
        click.echo(line)
    ferplus, majority = None, labelled.majority
    if majority is not None and (majority >= 0).any():
        ferplus = score(majority[majority >= 0], said[majority >= 0])
        click.echo(next(iter(scorecard_lines(ferplus, f"{title}, against the FER+ majority"))))
    assert recognizer.bundle is not None
    for promise in recognizer.bundle.manifest.evaluation:
        if promise.artifact == backend.artifact:
            click.echo(
                f"its report promises: n {promise.n:,} ({', '.join(recognizer.bundle.manifest.data.sets)} {promise.split})  "
                f"top-1 {promise.top1:.2%}  macro-F1 {promise.macro_f1:.2%}  (float {promise.float_top1:.2%})"
            )
    if json_path:
        result = asdict(card) | {"labels": list(LABELS), "artifact": backend.artifact, "split": split}
        result |= {"ferplus_majority": asdict(ferplus) if ferplus else None}
        result |= {"backend": f"{backend.name} {backend.version}", "left_out": labelled.left_out}
        with written_beside(json_path) as part_path:
            part_path.write_text(strict.dumps(result))
        click.echo(f"wrote {json_path}")
