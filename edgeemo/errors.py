"""Every exception that edgeemo raises on purpose.

EdgeemoError
├── InvalidInput (ValueError)          an argument or array of the wrong kind
│   └── UnknownLabel (ValueError)      a word that names none of the bundle's labels
├── MissingFile (FileNotFoundError)    a path that leads nowhere
├── StorageError (OSError)             a file or folder that cannot be written
├── PictureError (ValueError)          a file that is no usable picture
├── ArchiveError (ValueError)          an archive or folder that cannot be trusted or used
├── DownloadError (OSError)            a data set or model file that could not be downloaded
├── UpdateError (OSError)              a repository of updates that cannot be trusted or reached
├── DataError (ValueError)             prepared data that is damaged or does not fit
├── RunError (ValueError)              a training run that is damaged or incomplete
│   └── Interrupted (ValueError)       a run that Ctrl-C stopped, with how to go on
├── ModelError (ValueError)            a model from elsewhere that cannot be adopted
├── BundleError (ValueError)           a bundle that is damaged or from another version
│   └── UntrustedModel (ValueError)    a model that no trusted key has signed
├── SpecMismatch (ValueError)          two artifacts that were made for different input specs
├── DetectorError (RuntimeError)       a face detector that cannot work here
├── CameraError (OSError)              a camera or video that cannot be opened or read
├── ScreenError (RuntimeError)         a window that cannot be opened
├── ServeError (OSError)               an address, token or broker that cannot be used
├── FlashError (OSError)               a microcontroller that cannot be reached or written
├── BackendError (RuntimeError)        an interpreter that refuses a model or fails
├── MissingDependency (ImportError)    an optional package that is not installed
├── BrokenDependency (ImportError)     an optional package that is installed and does not import
└── GateFailed (RuntimeError)          a quantized model that lost more than is allowed

A message says what was expected, what came instead and what to do about it.
"""

import collections.abc
import contextlib

_programs = 0  # of ours that run in this process: 0 where somebody's Python uses edgeemo


@contextlib.contextmanager
def speaking_of_options() -> collections.abc.Iterator[None]:
    """While a program of ours runs, messages name what can be typed."""
    global _programs
    _programs += 1
    try:
        yield
    finally:
        _programs -= 1


def worded(option: str, argument: str) -> str:
    """How a message names a setting: as an option to those at a command line, as an argument to
    those who write Python.
    """
    return option if _programs else argument


class EdgeemoError(Exception):
    """Root of all errors raised on purpose by edgeemo, its training and its export stage."""


class InvalidInput(EdgeemoError, ValueError):
    """An argument or array of the wrong kind, shape, dtype or range."""


class UnknownLabel(InvalidInput):
    """A word that names none of the labels that rule here."""


class MissingFile(EdgeemoError, FileNotFoundError):
    """A path that leads nowhere."""


class StorageError(EdgeemoError, OSError):
    """A file or folder that cannot be written (disk full, read-only, no permission)."""


class PictureError(EdgeemoError, ValueError):
    """A file that is no usable picture."""


class ArchiveError(EdgeemoError, ValueError):
    """An archive or folder of pictures that cannot be trusted or used."""


class DownloadError(EdgeemoError, OSError):
    """A data set or model file that could not be downloaded."""


class UpdateError(EdgeemoError, OSError):
    """A repository of updates whose files are missing, expired, too slow or not what was signed."""


class DataError(EdgeemoError, ValueError):
    """Prepared data that is damaged or does not fit."""


class RunError(EdgeemoError, ValueError):
    """A training run that is damaged or incomplete."""


class Interrupted(RunError):
    """A run that Ctrl-C stopped; the message says how to go on. Commands end with 130."""


class ModelError(EdgeemoError, ValueError):
    """A model file from elsewhere that cannot be trusted, read or brought into the contract."""


class BundleError(EdgeemoError, ValueError):
    """A bundle that is damaged, tampered with or from another version."""


class UntrustedModel(BundleError):
    """A model that too few of the keys which are trusted here have signed."""


class SpecMismatch(EdgeemoError, ValueError):
    """Two artifacts that were made for different input specs."""


class DetectorError(EdgeemoError, RuntimeError):
    """A face detector that cannot work here."""


class CameraError(EdgeemoError, OSError):
    """A camera, stream or video that cannot be opened, or gives no frames any more."""


class ScreenError(EdgeemoError, RuntimeError):
    """A window that cannot be opened."""


class ServeError(EdgeemoError, OSError):
    """An address that cannot be listened on, or a token, broker or hook that cannot be used."""


class FlashError(EdgeemoError, OSError):
    """A microcontroller that cannot be reached or written."""


class BackendError(EdgeemoError, RuntimeError):
    """An interpreter that refuses the model or fails while running it."""


class MissingDependency(EdgeemoError, ImportError):
    """An optional package that is not installed."""


class BrokenDependency(EdgeemoError, ImportError):
    """An optional package that is installed and does not import."""


class GateFailed(EdgeemoError, RuntimeError):
    """A quantized model that lost more than the acceptance gate allows."""
