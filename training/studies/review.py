"""Label review: pictures whose label a network that never saw them finds improbable, for a person to decide on."""

import base64
import csv
import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray

from edgeemo.contract import strict
from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.data.ferplus import VOTES_TO_LABELS, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import StorageError
from edgeemo.proof.evaluation import wilson_interval
from training.data.reviewed import DECISIONS, read_reviewed
from training.runs.run import check_fits, load_run
from training.studies.folds import out_of_fold
from training.studies.sheets import contact_sheet, png

CSV, PAGE, SUMMARY, FOLDS = "review.csv", "review.html", "review.json", "folds"
EPOCHS = 12  # enough to tell wrong labels; a network fitted for long begins to learn them by heart
# The probability of the given label. cleanlab's other scores rank as well or worse on FER-2013 (docs/data.md), and this
# one also finds pictures that belong to none of the seven, which a person will want to drop.
METHOD = "self_confidence"
COLUMNS = (
    "rank", "source", "path", "sha256", "group", "label", "suggestion", "quality", "confidence", "decision",
)  # fmt: skip
_SHEET_COLUMNS, _SHEET_ROWS = 10, 6
# FER+ column of each label.
_VOTE_COLUMN = VOTES_TO_LABELS.argmax(axis=0)


@dataclass(frozen=True)
class Ranking:
    """Pictures by how much their label is to be trusted, the least first; of copies with one label only the first.

    Attributes:
        rows: int64 (n,), row numbers in the prepared folder.
        quality: float64 (n,), the probability of the given label, 0..1.
        suggestions: int64 (n,), the most probable label.
        confidence: float64 (n,), its probability.
    """

    rows: NDArray[np.int64]
    quality: NDArray[np.float64]
    suggestions: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def __getitem__(self, chosen: NDArray[Any] | slice) -> "Ranking":
        return Ranking(
            self.rows[chosen],
            self.quality[chosen],
            self.suggestions[chosen],
            self.confidence[chosen],
        )


def review(
    data_path: Path,
    run_path: Path,
    out: Path,
    *,
    folds: int = 5,
    epochs: int | None = None,
    top: int = 500,
    seed: int = 1,
    progress: bool = True,
) -> dict[str, Any]:
    """Rank the labels of a prepared folder with networks of a run's recipe; write the review into `out`, return review.json.

    `epochs` is 12 by default, or the run's own where that is fewer.

    Raises:
        MissingFile, DataError, RunError, SpecMismatch: the folder or the run does not fit; too few pictures for the folds.
        StorageError: `out` cannot be written, or holds a review.csv with decisions.
    """
    run = load_run(run_path)
    data = load_prepared(data_path, run.spec)
    check_fits(run, data)
    _keep_decisions(out / CSV)
    recipe = replace(run.recipe, epochs=epochs or min(EPOCHS, run.recipe.epochs), seed=seed)
    if progress:
        click.echo(
            f"{folds} networks of {recipe.model}, {recipe.epochs} of the run's {run.recipe.epochs} epochs each, seed {seed}",
            err=True,
        )
    rows, logits = out_of_fold(recipe, data, folds, out / FOLDS, progress=progress)
    ranking = rank(data, rows, logits)
    suspects = ranking[np.flatnonzero(ranking.suggestions != data.labels[ranking.rows])[:top]]
    summary = {
        "run": str(run_path),
        "data": str(data_path),
        "split_hash": data.split_hash,
        "recipe": recipe.to_dict(),
        "folds": folds,
        "method": METHOD,
        "pictures": len(rows),
        "ranked": len(ranking.rows),
        "out_of_fold_top1": float((logits.argmax(axis=1) == data.labels[rows]).mean()),
        "suspects": len(suspects.rows),
        "suspects_by_label": _by_label(data.labels[suspects.rows]),
        "ferplus": ferplus_check(data, ranking.rows, suspects),
    }
    _write_csv(out / CSV, data, suspects)
    _write_sheets(out, data, ranking)
    _write_page(out / PAGE, data, suspects, summary)
    with written_beside(out / SUMMARY) as part:
        part.write_text(strict.dumps(summary))
    return summary


def rank(data: Prepared, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> Ranking:
    """Rank the pictures `rows` (n,) by their out-of-fold logits (n, 7)."""
    labels, scores = data.labels[rows], softmax(logits).astype(np.float64)
    quality = get_label_quality_scores(labels, scores, method=METHOD)
    order = np.argsort(quality, kind="stable")
    # A decision on a picture holds for its copies, so that a person sees it once.
    of_one_label = np.stack([data.groups[rows], labels], axis=1)[order]
    order = order[np.sort(np.unique(of_one_label, axis=0, return_index=True)[1])]
    return Ranking(rows, quality, scores.argmax(axis=1), scores.max(axis=1))[order]


def contradicted(votes: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether FER+ votes (n, 10) contradict label numbers (n,): another of the ten columns has more votes.

    A tie for the most votes that the label has part in does not contradict it.
    """
    return np.asarray(votes[np.arange(len(votes)), _VOTE_COLUMN[labels]] < votes.max(axis=1))


def ferplus_check(
    data: Prepared, ranked: NDArray[np.int64], suspects: Ranking
) -> dict[str, Any] | None:
    """How many suspects the FER+ votes contradict, against the share among all `ranked` rows; None where no votes are known."""
    if data.votes is None:
        return None
    votes = group_votes(data)
    known = np.asarray((votes >= 0).all(axis=1))
    asked, everything = known[suspects.rows], ranked[known[ranked]]
    rows, suggestions = suspects.rows[asked], suspects.suggestions[asked]
    if not len(rows):
        return None
    hits = int(contradicted(votes[rows], data.labels[rows]).sum())
    base = float(contradicted(votes[everything], data.labels[everything]).mean())
    return {
        "suspects_with_votes": len(rows),
        "contradicted": hits,
        "precision": hits / len(rows),
        "interval": list(wilson_interval(hits, len(rows))),
        "pictures_with_votes": len(everything),
        "base_rate": base,
        "lift": hits / len(rows) / base if base else None,
        "suggestion_agrees": int((~contradicted(votes[rows], suggestions)).sum()),
    }


def summary_lines(summary: dict[str, Any]) -> Iterator[str]:
    """What review.json says, for people."""
    by_label = ", ".join(f"{n:,} {label}" for label, n in summary["suspects_by_label"].items() if n)
    yield (
        f"{summary['pictures']:,} pictures, out-of-fold top-1 {summary['out_of_fold_top1']:.2%}; "
        f"{summary['suspects']:,} suspects ({by_label or 'no label is doubted'})"
    )
    check = summary["ferplus"]
    if check is None:
        yield "no FER+ votes of these pictures are known, so the suspects are not checked against them"
        return
    low, high = check["interval"]
    lift = f"{check['lift']:.2f} times the base rate" if check["lift"] else "against a base rate"
    yield (
        f"FER+ votes contradict {check['contradicted']:,} of {check['suspects_with_votes']:,} suspects: precision "
        f"{check['precision']:.1%} (95 % interval {low:.1%} to {high:.1%}), {lift} of {check['base_rate']:.1%} over "
        f"{check['pictures_with_votes']:,} pictures; the suggestion agrees with them for {check['suggestion_agrees']:,}"
    )
    if summary["recipe"]["labels"] != "fer2013":
        yield "the networks were fitted to FER+ votes of other pictures, so this check is not independent of them"


def _keep_decisions(file: Path) -> None:
    """Raise StorageError where a person's work would be overwritten."""
    if file.is_file() and (decisions := read_reviewed(file)):
        raise StorageError(
            f"{file}: holds {len(decisions):,} decisions and would be overwritten; move it away or choose another --out"
        )


def _write_csv(path: Path, data: Prepared, suspects: Ranking) -> None:
    with written_beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for position, (row, suggestion) in enumerate(
            zip(suspects.rows, suspects.suggestions, strict=True)
        ):
            index = data.rows[row]
            writer.writerow(
                [
                    position + 1,
                    *(_no_formula(index[name]) for name in ("source", "path")),
                    *(index[name] for name in ("sha256", "group", "label")),
                    LABELS[suggestion],
                    f"{suspects.quality[position]:.6f}",
                    f"{suspects.confidence[position]:.6f}",
                    "",
                ]
            )


def _no_formula(text: str) -> str:
    """A name out of an archive as a cell that no spreadsheet takes for a formula."""
    return f"./{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _write_sheets(out: Path, data: Prepared, ranking: Ranking) -> None:
    """sheet_LABEL.png: the least trusted pictures of each label, each with its suggestion and its quality."""
    for number, label in enumerate(LABELS):
        chosen = ranking[
            np.flatnonzero(data.labels[ranking.rows] == number)[: _SHEET_COLUMNS * _SHEET_ROWS]
        ]
        captions = [
            f"{LABELS[suggestion]} {quality:.3f}"
            for suggestion, quality in zip(chosen.suggestions, chosen.quality, strict=True)
        ]
        with written_beside(out / f"sheet_{label}.png") as part:
            part.write_bytes(
                png(contact_sheet(data.images[chosen.rows], _SHEET_COLUMNS, captions, scale=2))
            )


def _write_page(path: Path, data: Prepared, suspects: Ranking, summary: dict[str, Any]) -> None:
    figures = "".join(_figure(data, suspects, position) for position in range(len(suspects.rows)))
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in summary_lines(summary))
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Label review</title><style>{_STYLE}</style>
<h1>Label review</h1>{lines}
<p>Below: rank in <code>{CSV}</code>, the given label, the suggestion, and the probabilities of both. Fill in the column
<code>decision</code>: {" or ".join(DECISIONS)}, or one of {", ".join(LABELS)}; what stays empty changes nothing. Then
<code>python -m training prepare ... --reviewed {html.escape(str(path.parent / CSV))}</code></p>
<main>{figures}</main></html>"""
    with written_beside(path) as part:
        part.write_text(page, encoding="utf-8")


def _figure(data: Prepared, suspects: Ranking, position: int) -> str:
    row = suspects.rows[position]
    picture = base64.b64encode(png(np.asarray(data.images[row, :, :, 0]))).decode()
    name, suggestion = (
        html.escape(data.rows[row]["path"], quote=True),
        LABELS[suspects.suggestions[position]],
    )
    return (
        f'<figure><img alt="{name}" title="{name}" src="data:image/png;base64,{picture}"><figcaption>{position + 1}: '
        f"<s>{LABELS[data.labels[row]]}</s> {suggestion}<br>{suspects.quality[position]:.3f} "
        f"{suspects.confidence[position]:.3f}</figcaption></figure>"
    )


_STYLE = """
:root { color-scheme: light dark; } body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; } figure { margin: 0; }
figcaption { font-size: .8rem; } img { width: 100%; image-rendering: pixelated; } code { overflow-wrap: anywhere; }
"""


def _by_label(labels: NDArray[np.int64]) -> dict[str, int]:
    counts = Counter(labels.tolist())
    return {label: counts[i] for i, label in enumerate(LABELS)}
