"""Numbers as text, the same in every table, picture and page."""


def percent(share: float | None, digits: int = 1) -> str:
    """A share 0..1 in percent: `71.4%`; "-" for None."""
    return "-" if share is None else f"{share:.{digits}%}"
