"""Numbers of export's reports as text, one form each."""

from edgeemo.proof.evaluation import PairedDrop
from workstation import text


def percent(share: float) -> str:
    """A share 0..1 as `98.64%`."""
    return text.percent(share, 2)


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `+0.18`."""
    return f"{100 * share:+.2f}"


def interval(drop: PairedDrop) -> str:
    """The 90 % interval of a drop in percentage points: `-0.10 to +0.41`."""
    return f"{points(drop.lower95)} to {points(drop.upper95)}"


def change(drop: PairedDrop) -> str:
    """From A to B, which is the drop with its sign turned, with its 90 % interval."""
    return (
        f"{points(-drop.drop)} pp (90 % interval {points(-drop.upper95)} to "
        f"{points(-drop.lower95)})"
    )


def p_value(p: float) -> str:
    """Of a test, as `0.0123`."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def decibels(value: float | None) -> str:
    """Of a peak signal to noise ratio; None is infinite."""
    return "equal" if value is None else f"{value:.1f}"
