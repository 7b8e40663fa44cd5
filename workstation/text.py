"""Numbers as text, the same in every table, picture and page."""


def percent(share: float | None, digits: int = 1) -> str:
    """A share 0..1 in percent: `71.4%`; "-" for None."""
    return "-" if share is None else f"{share:.{digits}%}"


def duration(seconds: float) -> str:
    """A time in two units at most: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
