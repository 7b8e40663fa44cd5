"""Health and counters as Prometheus reads them (text format 0.0.4)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edgeemo.live.health import Health, State
from edgeemo.results import Reading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS = {
    "frames": "Frames from the camera.",
    "looked_at": "Frames that were looked at.",
    "dropped": "Frames that were not looked at.",
    "frame_errors": "Frames that failed when they were looked at.",
    "bad_frames": "Frames that could not be read.",
    "detections": "Looks of the face detector.",
    "inferences": "Faces that the network was asked about.",
    "losses": "Times that the camera was gone.",
    "reconnects": "Times that the camera came back.",
}
_GAUGES = {
    "camera_ok": "Whether frames can be expected.",
    "fps": "Frames a second that were looked at lately.",
    "latency_ms": "From a frame's capture to its reading, milliseconds.",
    "frame_age_s": "Seconds since the last frame came.",
    "reading_age_s": "Seconds since a frame was last read.",
    "uptime_s": "Seconds since the sensor's start.",
    "rss_mb": "Resident memory of the process, 10**6 bytes.",
    "temperature_c": "The hottest thermal zone, degrees Celsius.",
}


@dataclass(frozen=True)
class Metric:
    """A figure of other parts, such as the clients' or the broker's."""

    name: str
    """What follows `edgeemo_`; a counter's ends in `_total`."""
    help: str
    """One sentence."""
    value: float
    """Now."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names and values that tell figures of one name apart."""


def text(health: Health, reading: Reading | None, others: Iterable[Metric]) -> str:
    """All figures, in Prometheus' text format."""
    return "\n".join(_lines([*_of_health(health), *_of_reading(reading), *others])) + "\n"


def _of_health(health: Health) -> Iterator[Metric]:
    for name, words in _COUNTERS.items():
        yield Metric(f"{name}_total", words, getattr(health, name))
    for name, words in _GAUGES.items():
        value = getattr(health, name)
        if value is not None:
            yield Metric(name, words, float(value))
    for state in State:
        yield Metric(
            "state", "1 for what the sensor does now.", health.state == state, {"state": str(state)}
        )


def _of_reading(reading: Reading | None) -> Iterator[Metric]:
    words = "Whether a face is seen."
    yield Metric("face", words, bool(reading and reading.face_id is not None))
    for label, score in reading.scores.items() if reading else ():
        yield Metric("score", "Smoothed probability of a label.", score, {"label": label})


def _lines(metrics: Iterable[Metric]) -> Iterator[str]:
    begun: set[str] = set()
    for metric in metrics:
        name = f"edgeemo_{metric.name}"
        if name not in begun:
            begun.add(name)
            yield f"# HELP {name} {metric.help}"
            yield f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"
        pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in metric.labels.items())
        yield f"{name}{{{pairs}}} {metric.value:.10g}" if pairs else f"{name} {metric.value:.10g}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
