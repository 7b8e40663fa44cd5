"""How a sensor does: counters since its start, memory and temperature."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Health:
    """A sensor's counters since its start.

    Attributes:
        uptime_s: seconds.
        camera_ok: whether frames can be expected.
        frames: that came from the camera; the sum of `looked_at`, `dropped`, and one that may just wait.
        looked_at: frames that were looked at.
        dropped: frames that came and were not looked at, because a newer one came or they were too old.
        bad_frames: that were no picture; not among `frames`.
        bad_times: frames with an impossible time of capture; they count as captured when they came.
        detections: looks of the face detector.
        detect_every: the detector looks at every so many frames now.
        inferences: faces that the network was asked about.
        losses, reconnects: times that the camera was gone, and that it came back.
        fps: frames a second that were looked at lately.
        latency_ms: of the last reading.
        rss_mb: resident memory of the process in 10**6 bytes; None where the system does not tell.
        temperature_c: of the hottest thermal zone, in degrees Celsius; None where the system does not tell.
    """

    uptime_s: float
    camera_ok: bool
    frames: int
    looked_at: int
    dropped: int
    bad_frames: int
    bad_times: int
    detections: int
    detect_every: int
    inferences: int
    losses: int
    reconnects: int
    fps: float
    latency_ms: float
    rss_mb: float | None
    temperature_c: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            key: round(value, 2) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        """One line for a log: name and value of each."""
        return " ".join(
            f"{key}={value}" for key, value in self.to_dict().items() if value is not None
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
    found = []
    for zone in zones.glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max((value for value in found if -40 < value < 150), default=None)
