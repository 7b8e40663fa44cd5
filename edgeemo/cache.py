"""Where files lie that can be fetched or made again."""

import atexit
import contextlib
import functools
import os
import shutil
import stat
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache of edgeemo: $XDG_CACHE_HOME/edgeemo, by default ~/.cache/edgeemo.

    A relative $XDG_CACHE_HOME does not count (XDG Base Directory Specification 0.8). Where there is
    no home (a service without one, a user id that no user has), or one that is closed to this user
    (another user's, which sudo can leave in $HOME), it is a folder of this user's id in the
    system's folder for temporary files; where another user could have put files there, a new one
    that ends with the process. The folder may not exist.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if named.is_absolute() and _is_open(named / "edgeemo"):
        return named / "edgeemo"
    try:
        home = Path.home()
    except (RuntimeError, KeyError):
        home = Path()
    if home.is_absolute() and home != Path("/") and _is_open(home / ".cache" / "edgeemo"):
        return home / ".cache" / "edgeemo"
    return _without_home()


def _is_open(folder: Path) -> bool:
    """Whether this user may look for files in it; one that does not exist is no obstacle."""
    try:
        (folder / "any").lstat()
    except PermissionError:
        return False
    except OSError:
        return True
    return True


@functools.cache
def _without_home() -> Path:
    try:
        folder = Path(tempfile.gettempdir(), f"edgeemo-{os.getuid()}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if _is_ours_alone(folder):
            return folder
        private = Path(tempfile.mkdtemp(prefix="edgeemo-"))
    except OSError:  # no folder for temporary files can be written: there is no cache
        return Path("/nonexistent/edgeemo")
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _is_ours_alone(folder: Path) -> bool:
    """Whether it is a folder, no link, of this user, which nobody else may write into."""
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022
