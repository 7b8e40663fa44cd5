"""What a client asks and what it is answered, over ASGI (https://asgi.readthedocs.io)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from edgeemo.contract.checked import strict

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = "application/json"
_MOST_FIELDS = 16  # of a query

# On every answer. What the page may do is in its own Content-Security-Policy; an answer that is no
# page may do nothing.
SECURITY = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


@dataclass
class Refusal(Exception):
    """An answer that is no success, raised wherever a request turns out to be none that is served.

    What it says reaches the client as {"error": text}.
    """

    status: int
    """HTTP status, 400 to 503."""
    text: str
    """What was expected, what came, what to do."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers, such as `allow` or `retry-after`."""


class Request:
    """A request, or a WebSocket's opening, and the way to answer it.

    Args:
        scope, receive, send: of ASGI.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.websocket = scope["type"] == "websocket"
        self.method: str = "GET" if self.websocket else scope["method"]
        self.path: str = scope["path"]
        self.secure: bool = scope.get("scheme") in ("https", "wss")
        # The last of doubled headers would win; `double` lets the doors refuse those that count.
        self.headers: dict[str, str] = {}
        self.double: set[str] = set()
        for key, value in scope["headers"]:
            name = key.decode("latin-1")
            if name in self.headers:
                self.double.add(name)
            self.headers[name] = value.decode("latin-1")
        self._query: bytes = scope.get("query_string", b"")
        self.size = len(self.path) + len(self._query)
        """Bytes of address and headers."""
        self.size += sum(len(key) + len(value) for key, value in scope["headers"])
        self._receive, self._send = receive, send
        self.extra: dict[str, str] = {}
        """Headers for whatever is answered, such as those of CORS."""

    @property
    def query(self) -> dict[str, str]:
        """The fields of the address. Raises Refusal for more than a handful."""
        try:
            pairs = parse_qsl(
                self._query.decode("ascii", "replace"),
                keep_blank_values=True,
                max_num_fields=_MOST_FIELDS,
            )
        except ValueError:
            raise Refusal(400, f"expected at most {_MOST_FIELDS} fields in the address") from None
        return dict(pairs)

    async def answer(
        self,
        status: int,
        body: bytes,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer in one piece."""
        length = {"content-length": str(len(body))}
        await self.start(status, content_type, {**length, **(headers or {})})
        await self.more(body, last=True)

    async def answer_json(
        self, value: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer a JSON value, on one line with its end."""
        body = strict.dumps_line(value).encode() + b"\n"
        await self.answer(status, body, JSON, headers)

    async def start(
        self, status: int, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Begin an answer whose body follows with `more`; of a WebSocket that is refused too."""
        whole = {**SECURITY, "content-type": content_type, **self.extra, **(headers or {})}
        await self._send(
            {
                "type": self._kind("response.start"),
                "status": status,
                "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in whole.items()],
            }
        )

    async def more(self, body: bytes, *, last: bool = False) -> None:
        """A piece of the body. Waits while the client takes none."""
        await self._send({"type": self._kind("response.body"), "body": body, "more_body": not last})

    def _kind(self, what: str) -> str:
        return f"websocket.http.{what}" if self.websocket else f"http.{what}"

    async def body(self, most: int, seconds: float) -> bytes:
        """The request's body.

        Args:
            most: bytes.
            seconds: that it may take.

        Raises:
            Refusal: 413 for more bytes, 408 for a client that is too slow or goes.
        """
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length[:18]) > most:
            raise _too_large(most)
        try:
            return await asyncio.wait_for(self._body(most), seconds)
        except asyncio.TimeoutError:
            raise Refusal(408, f"expected the body within {seconds:g} s") from None

    async def _body(self, most: int) -> bytes:
        whole = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Refusal(408, "the client has gone")
            whole += message.get("body", b"")
            if len(whole) > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                return bytes(whole)

    async def gone(self) -> None:
        """Return once the client has closed; what it still sends is not looked at."""
        while (await self._receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass

    async def accept(self) -> None:
        """Open the WebSocket."""
        await self._receive()  # websocket.connect
        await self._send({"type": "websocket.accept", "headers": []})

    async def text(self, text: str) -> None:
        """Send a text over the WebSocket. Waits while the client takes none."""
        await self._send({"type": "websocket.send", "text": text})

    async def hang_up(self, code: int) -> None:
        """Close the WebSocket with a code of RFC 6455."""
        await self._send({"type": "websocket.close", "code": code, "reason": ""})


def _too_large(most: int) -> Refusal:
    # The rest is not read, so the connection cannot go on.
    return Refusal(
        413, f"expected at most {most:,} bytes; send a smaller picture", {"connection": "close"}
    )
