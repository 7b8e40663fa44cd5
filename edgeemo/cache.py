"""Where files lie that can be fetched or made again."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache of edgeemo: $XDG_CACHE_HOME/edgeemo, by default ~/.cache/edgeemo.

    A relative $XDG_CACHE_HOME does not count (XDG Base Directory Specification 0.8). Where there is
    no home (a service without one, a user id that no user has), it is a folder of this user's id in
    the system's folder for temporary files. The folder may not exist.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if named.is_absolute():
        return named / "edgeemo"
    try:
        home = Path.home()
    except (RuntimeError, KeyError):
        home = Path()
    if home.is_absolute() and home != Path("/"):
        return home / ".cache" / "edgeemo"
    return Path(tempfile.gettempdir(), f"edgeemo-{os.getuid()}")
