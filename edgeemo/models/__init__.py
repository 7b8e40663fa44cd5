"""The bundles that ship, by name."""

import os
from pathlib import Path

from edgeemo.errors import MissingFile

DEFAULT_MODEL = "small"
PURPOSES = {
    "nano": "microcontrollers",
    "small": "Pi, Jetson",
    "base": "rare emotions",
    "nano-fer2013": "literature",
    "small-fer2013": "literature",
}
"""What each bundle that ships is for, in a few words."""
_FOLDER = Path(__file__).parent
_DETECTORS = _FOLDER / "detectors"


def shipped_models() -> list[str]:
    """Names of the bundles that ship with this install."""
    return sorted(path.stem for path in _FOLDER.glob("*.edgeemo"))


def find_model(name_or_path: str) -> Path:
    """The bundle file that a shipped name or a path means.

    Raises:
        MissingFile: neither; the message lists the shipped names.
    """
    if name_or_path in shipped_models():
        return _FOLDER / f"{name_or_path}.edgeemo"
    if os.path.exists(name_or_path):  # unlike Path.exists, False for a name that is too long
        return Path(name_or_path)
    raise MissingFile(
        f"{name_or_path}: no such bundle; expected the path of a .edgeemo file or one of"
        f" {', '.join(shipped_models()) or 'none'}"
    )


def shipped_detectors() -> list[str]:
    """Names of the face detectors that ship with this install."""
    return sorted(path.stem for path in _DETECTORS.glob("*.edgeemo"))


def find_detector(name_or_path: str) -> Path:
    """The bundle file of a face detector that a shipped name or a path means.

    Raises:
        MissingFile: neither; the message lists the shipped names.
    """
    if name_or_path in shipped_detectors():
        return _DETECTORS / f"{name_or_path}.edgeemo"
    if os.path.exists(name_or_path):
        return Path(name_or_path)
    raise MissingFile(
        f"{name_or_path}: no such face detector; expected the path of a .edgeemo file or one of "
        f"{', '.join(shipped_detectors()) or 'none'}"
    )
