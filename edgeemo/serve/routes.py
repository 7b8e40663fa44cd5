"""The table of routes: what is served is looked up here, and /openapi.json is made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from edgeemo.live.health import Health
from edgeemo.results import Reading
from edgeemo.serve.doors import MOST_HEAD
from edgeemo.serve.hub import MOST_CLIENTS
from edgeemo.serve.metrics import CONTENT_TYPE
from edgeemo.serve.picture import MOST_BYTES
from edgeemo.serve.request import JSON
from edgeemo.version import __version__

MJPEG = "multipart/x-mixed-replace; boundary=frame"
EVENTS = "text/event-stream; charset=utf-8"
HTML = "text/html; charset=utf-8"

_DOORS = {
    400: "Doubled headers, or fields that are none.",
    401: "No token, where one is needed.",
    403: "A page of another site asks.",
    404: "No such address; or it shows frames, and the server was started without --show-frames.",
    405: "Another method.",
    421: "A host that is not this server's name.",
    431: f"Address and headers have more than {MOST_HEAD:,} bytes.",
}


@dataclass(frozen=True)
class Route:
    """What one address does."""

    path: str
    """From the root on."""
    name: str
    """Of the operation."""
    summary: str
    """One sentence."""
    content_type: str = JSON
    """Of a success; "" for a WebSocket."""
    schema: str = ""
    """Of a JSON answer, by name in SCHEMAS; "" where it is any object or no JSON."""
    method: str = "GET"
    """The one that it takes; GET brings HEAD where the answer ends."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Fields of the address, with what they do."""
    answers: Mapping[int, str] = field(default_factory=dict)
    """Statuses besides 200 and those of the doors, with what they mean."""
    ends: bool = True
    """Whether the answer comes to an end by itself."""
    frames: bool = False
    """Whether it is there with --show-frames alone."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that it takes, OPTIONS left out."""
        return ("GET", "HEAD") if self.method == "GET" and self.ends else (self.method,)


_FULL = f"There are {MOST_CLIENTS} clients already."
_CHANGES = {"changes": "1: only where face, emotion or camera are others than before."}

ROUTES: Sequence[Route] = (
    Route("/", "page", "The page; ?kiosk fills the screen, ?lang=es speaks Spanish.", HTML,
          query={"link": "The one-time link's word.", "kiosk": "", "lang": "en or es."},
          answers={303: "The one-time link has let the browser in."}),
    Route("/api/state", "state", "The last reading.", schema="Reading",
          answers={503: "There is none yet."}),
    Route("/api/events", "events", "Server-sent events: a reading each.", EVENTS,
          query=_CHANGES, answers={503: _FULL}, ends=False),
    Route("/api/ws", "ws", "A WebSocket: a reading a message.", "",
          query=_CHANGES, answers={426: "No WebSocket is asked for.", 503: _FULL}, ends=False),
    Route("/api/health", "health", "How the sensor does: 200 while frames are read.",
          schema="Health", answers={503: "It starts, has ended, or its camera is lost."}),
    Route("/api/predict", "predict", "The faces of a picture that is sent, as `predict --json`.",
          schema="Prediction", method="POST",
          answers={408: "The picture came too slowly.",
                   413: f"It has more than {MOST_BYTES:,} bytes.",
                   415: "The body is no form, JSON or image.",
                   422: "It is no picture that can be read.",
                   503: "Others are being looked at; try again."}),
    Route("/api/frame.jpg", "frame", "The newest frame with its boxes.", "image/jpeg", frames=True,
          answers={503: "There is none now."}),
    Route("/api/stream.mjpg", "stream", "Frames with their boxes, as they come.", MJPEG,
          frames=True, answers={503: "Others look already."}, ends=False),
    Route("/metrics", "metrics", "Counters and gauges for Prometheus.", CONTENT_TYPE),
    Route("/openapi.json", "openapi", "This table, as OpenAPI 3.1."),
    Route("/api/model", "model", "What `edgeemo info --json` says of the model."),
)  # fmt: skip

_NUMBER, _TEXT = {"type": "number"}, {"type": "string"}
_BOX = {"type": ["array", "null"], "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
_SCORES = {"type": "object", "additionalProperties": _NUMBER}
_MAYBE_TEXT, _MAYBE_NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
_WHOLE, _YES = {"type": "integer"}, {"type": "boolean"}
_TYPES = {
    "float": _NUMBER, "int": _WHOLE, "str": _TEXT, "bool": _YES, "State": _TEXT,
    "int | None": {"type": ["integer", "null"]}, "str | None": _MAYBE_TEXT,
    "float | None": _MAYBE_NUMBER, "dict[str, float]": _SCORES, "Box | None": _BOX,
}  # fmt: skip


def _schema_of(kind: type, optional: Sequence[str] = ()) -> dict[str, Any]:
    """JSON Schema of a dataclass whose `to_dict` keeps its fields."""
    properties = {f.name: _TYPES[_name_of(f.type)] for f in fields(kind)}
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _name_of(kind: object) -> str:
    name = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    return name.replace("edgeemo.results.", "")


SCHEMAS: dict[str, dict[str, Any]] = {
    "Reading": _schema_of(Reading, optional=["camera_ok"]),
    "Health": _schema_of(Health),
    "Prediction": {
        "type": "object",
        "properties": {
            "image": _TEXT,
            "faces": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "box": {**_BOX, "type": "array"},
                        "emotion": _TEXT,
                        "confidence": _NUMBER,
                        "scores": _SCORES,
                    },
                    "required": ["box", "emotion", "confidence", "scores"],
                },
            },
        },
        "required": ["image", "faces"],
    },
    "Error": {"type": "object", "properties": {"error": _TEXT}, "required": ["error"]},
}


def openapi(*, frames: bool, token: bool) -> dict[str, Any]:
    """The routes as an OpenAPI 3.1 document.

    Args:
        frames: the server shows frames; otherwise their routes are left out.
        token: the server wants one.
    """
    served = [route for route in ROUTES if frames or not route.frames]
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "edgeemo serve", "version": __version__},
        "paths": {route.path: {route.method.lower(): _operation(route)} for route in served},
        "components": {"schemas": SCHEMAS},
    }
    if token:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": "edgeemo"},
        }
        document["security"] = [{"bearer": []}, {"cookie": []}]
    return document


def _operation(route: Route) -> dict[str, Any]:
    fault = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers: dict[str, Any] = {
        str(status): {"description": words, "content": fault}
        for status, words in sorted({**_DOORS, **route.answers}.items())
    }
    if route.content_type:
        schema = {"$ref": f"#/components/schemas/{route.schema}"} if route.schema else {}
        content = {route.content_type.partition(";")[0]: {"schema": schema}}
        answers["200"] = {"description": route.summary, "content": content}
    else:
        answers["101"] = {"description": route.summary}
    if route.schema == "Health":  # what it says then is the same
        answers["503"]["content"] = answers["200"]["content"]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": answers,
    }
    if route.query:
        operation["parameters"] = [
            {"name": name, "in": "query", "description": words, "schema": _TEXT}
            for name, words in route.query.items()
        ]
    if route.method == "POST":
        binary = {"type": "string", "contentMediaType": "image/*"}
        operation["requestBody"] = {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"image": binary}}
                },
                JSON: {
                    "schema": {
                        "type": "object",
                        "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
                        "required": ["image"],
                    }
                },
                "image/*": {"schema": binary},
            },
        }
    return operation
