"""What detectors found, as a table."""

from collections.abc import Mapping

from workstation.frames.judge import Count


def recall_table(counts: Mapping[str, Count]) -> list[str]:
    """Lines of a table: the kind of frames, how many faces were found, and what was no face."""
    width = max(map(len, counts))
    lines = [f"{'frames':{width}}  faces   found   no face  in frames"]
    for kind, count in counts.items():
        found = f"{100 * count.recall:5.1f} %" if count.faces else "      -"
        lines.append(f"{kind:{width}}  {count.faces:5}  {found}  {count.false:7}  {count.frames:9}")
    return lines
