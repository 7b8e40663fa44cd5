"""The run folder of a face detector: written by training, read by export."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.face_rows import FaceRows, completed
from edgeemo.contract.input_spec import InputSpec
from edgeemo.errors import RunError

DETECTOR_FILE, MODEL_FILE = "detector.json", "model.keras"


@dataclass(frozen=True)
class DetectorRun:
    """What a detector was made with, and what it found on validation."""

    name: str
    """The detector's name."""
    input_spec: InputSpec
    """What its network takes."""
    rows: FaceRows
    """How the network's output is read."""
    smallest: float
    """The smallest face that it answers for, as a share of the frame's shorter side."""
    recipe: dict[str, Any]
    """How it was trained, the seed with it."""
    sources: tuple[str, ...]
    """Names of the archives."""
    parameters: int
    """Weights of the network."""
    validation: dict[str, dict[str, int]]
    """Counts by kind of frames."""

    def to_json(self) -> str:
        """As JSON text."""
        return strict.dumps(asdict(self) | {"input_spec": self.input_spec.to_dict()})


def read_detector_run(path: Path) -> DetectorRun:
    """A detector's run folder.

    Raises:
        RunError: there is none, it is not finished, or its file is damaged.
    """
    file = path / DETECTOR_FILE
    try:
        run = strict.loads(read_regular(file, strict.MAX_BYTES))
        if isinstance(run, dict):
            run["rows"] = completed(run.get("rows"))
        return strict.from_dict(DetectorRun, run, str(file))
    except OSError:
        raise RunError(
            f"{path}: no finished run of a detector ({DETECTOR_FILE} is missing); run: "
            f"python -m training detector --out {path}"
        ) from None
    except ValueError as error:
        raise RunError(f"{file}: not valid ({error}); train the detector again") from None
