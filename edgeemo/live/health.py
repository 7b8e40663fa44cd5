"""How a sensor does: its state, counters since its start, memory and temperature."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeemo.contract.checked.words import Word


class State(Word):
    """What a sensor does now."""

    STARTING = "starting"
    """No frame has been read yet."""
    RUNNING = "running"
    """Frames are read; the ages in its health say how lately."""
    CAMERA_LOST = "camera lost"
    """The camera is gone, and is being opened again."""
    ENDED = "ended"
    """It was closed, the recording is over, or a failure ended it: no reading comes any more."""


@dataclass(frozen=True)
class Health:
    """A sensor's state, and its counters since its start."""

    state: State
    """What it does now."""
    error: str | None
    """What is wrong now: why the camera is gone, why the last frame could not be read, or what
    ended the sensor; None where nothing is."""
    uptime_s: float
    """Seconds."""
    frame_age_s: float | None
    """Seconds since the last frame came, on a clock that nobody sets; None before the first."""
    reading_age_s: float | None
    """Seconds since a frame was last read, on the same clock; None before the first."""
    camera_ok: bool
    """Whether frames can be expected: the sensor is starting or running."""
    frames: int
    """Frames from the camera: `looked_at`, `dropped`, and one that may just wait."""
    looked_at: int
    """Frames that were looked at; those that failed too."""
    dropped: int
    """Frames not looked at, because a newer one came or they were too old."""
    frame_errors: int
    """Frames that failed when they were looked at, whole or one face of several; among
    `looked_at`."""
    bad_frames: int
    """Frames, or pictures of a folder, that could not be read; not among `frames`."""
    bad_times: int
    """Frames with an impossible time of capture; they count as captured when they came."""
    detections: int
    """Looks of the face detector."""
    detect_every: int
    """The detector looks at every so many frames now."""
    inferences: int
    """Faces that the network was asked about."""
    losses: int
    """Times that the camera was gone."""
    reconnects: int
    """Times that it came back."""
    fps: float
    """Frames a second that were looked at lately."""
    latency_ms: float
    """Of the last reading, milliseconds."""
    rss_mb: float | None
    """Resident memory of the process in 10**6 bytes; None where the system does not tell."""
    temperature_c: float | None
    """Of the hottest thermal zone, degrees Celsius; None where the system does not tell."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            key: round(value, 2) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        """One line for a log: name and value of each; words in quotes where there are several."""
        return " ".join(
            f"{key}={json.dumps(value) if ' ' in str(value) else value}"
            for key, value in self.to_dict().items()
            if value is not None
        )


def rss_mb() -> float | None:
    """Resident memory of this process in 10**6 bytes, or None where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def temperature_c(zones: Path = Path("/sys/class/thermal")) -> float | None:
    """The hottest thermal zone in degrees Celsius, or None where there is none that can be read."""
    temperatures = []
    for zone in zones.glob("thermal_zone*/temp"):
        try:
            temperatures.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max((value for value in temperatures if -40 < value < 150), default=None)
