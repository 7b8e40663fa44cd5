"""Who may ask: the host that was meant, the page that asks, and a token where others can reach it.

A page on the internet can make a browser ask 127.0.0.1, by its own address (the browser then names
the page in `Origin` or `Sec-Fetch-Site`) or by a name of its own that it lets point here (DNS
rebinding: the browser then names that in `Host`). So both are checked, before any route is looked
for.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from edgeemo.errors import InvalidInput
from edgeemo.serve.request import Refusal, Request

COOKIE = "edgeemo"
LINK_SECONDS = 600.0
"""How long the one-time link can be used."""
SHORTEST_TOKEN = 16
"""Characters."""
MOST_HEAD = 16 * 1024
"""Bytes of a request's address and headers."""
_COOKIE_SECONDS = 30 * 24 * 3600
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ONCE = ("host", "origin", "authorization", "content-type", "content-length", "cookie")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def parse_origin(word: str) -> str:
    """A page's address as a browser names it: scheme, host, and port where it is not the usual one.

    Raises:
        InvalidInput: it is none.
    """
    try:
        parts = urlsplit(word)
        fits = parts.scheme in ("http", "https") and parts.hostname and not parts.username
        port = parts.port
    except ValueError:
        fits, port = "", None
    if not fits or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidInput(
            f"expected a page's origin, such as https://shop.example:8443, received {word[:80]!r}"
        )
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


class Doors:
    """The rules for one server.

    Args:
        host: that it listens on. On a loopback address it answers to loopback names alone; on
            another to every IP address, which no rebinding can be of, and to this machine's name.
        origins: pages of other sites that may ask too, and whose hosts may stand for this server,
            as a proxy's does.
        token: what a client has to show; "": nothing.
    """

    def __init__(self, host: str, origins: Iterable[str] = (), token: str = "") -> None:
        self._origins = {parse_origin(word) for word in origins}
        self._hosts = {*_LOOPBACK, *(urlsplit(word).hostname or "" for word in self._origins)}
        self._any_address = not is_loopback(host)
        if self._any_address:
            name = socket.gethostname().lower()
            self._hosts |= {name, name.partition(".")[0] + ".local", host.lower()}
        self._token = token.encode()
        # From the token, so that a page that is open outlives a restart of the server.
        self._cookie = hmac.new(self._token, b"edgeemo cookie 1", hashlib.sha256).hexdigest()
        self._link = secrets.token_urlsafe(24) if token else ""
        self._link_until = time.monotonic() + LINK_SECONDS

    @property
    def wants_token(self) -> bool:
        """Whether a client has to show one."""
        return bool(self._token)

    @property
    def link(self) -> str:
        """The path that lets a browser in, once; "" where none is needed or it was used."""
        return f"/?link={self._link}" if self._link else ""

    def check(self, request: Request) -> None:
        """Let the request pass, and add to it what its answer has to say to another site's page.

        Raises:
            Refusal: 431 for a large head, 400 for doubled headers, 421 for a host that is not ours, 403 for a page of
                another site, 401 without the token.
        """
        if request.size > MOST_HEAD:
            raise Refusal(431, f"expected at most {MOST_HEAD:,} bytes of address and headers")
        doubled = request.double.intersection(_ONCE)
        if doubled:
            raise Refusal(400, f"expected one header of each name, received two of {min(doubled)}")
        self._check_host(request.headers.get("host", ""))
        self._check_origin(request)
        if request.method != "OPTIONS":  # asked by browsers, which send no token with it
            self._check_token(request)

    def _check_host(self, host: str) -> None:
        match = _HOST.fullmatch(host)
        name = match[1].strip("[]").lower() if match else ""
        if not (name in self._hosts or (self._any_address and _is_address(name))):
            raise Refusal(
                421, "this is no name of this server; --allow-origin names those of a proxy"
            )

    def _check_origin(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is None:
            site = request.headers.get("sec-fetch-site", "none")
            opens = (
                request.headers.get("sec-fetch-mode") == "navigate"
                and request.headers.get("sec-fetch-dest") == "document"
                and request.method == "GET"
            )
            if site not in ("none", "same-origin") and not opens:
                raise _other_page()
            return
        scheme = "https" if request.secure else "http"
        if origin.lower() == f"{scheme}://{request.headers['host'].lower()}":
            return
        if origin not in self._origins:
            raise _other_page()
        request.extra |= {"access-control-allow-origin": origin, "vary": "origin"}

    def _check_token(self, request: Request) -> None:
        if not self._token:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip().encode("latin-1"), self._token):
            return
        if _same(_cookie_of(request).encode("latin-1"), self._cookie.encode()):
            return
        raise Refusal(
            401,
            "expected the token as `Authorization: Bearer TOKEN`, or a browser that has opened the "
            "one-time link",
            {"www-authenticate": "Bearer"},
        )

    def enter(self, request: Request, link: str) -> dict[str, str]:
        """Headers that let a browser in which opened the one-time link; it is used up.

        Raises:
            Refusal: 421 and 403 as `check`; 401 for another link, one that was used, or too late.
        """
        self._check_host(request.headers.get("host", ""))
        self._check_origin(request)
        given = link.encode("utf-8", "replace")
        fits = self._link and _same(given, self._link.encode())
        if not fits or time.monotonic() > self._link_until:
            raise Refusal(
                401, "this link was used or is too old; start the server again for another"
            )
        self._link = ""
        secure = "; Secure" if request.secure else ""
        return {
            "set-cookie": f"{COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Lax; "
            f"Max-Age={_COOKIE_SECONDS}{secure}",
            "location": "/",
        }


def _same(given: bytes, wanted: bytes) -> bool:
    return hmac.compare_digest(given, wanted)


def _cookie_of(request: Request) -> str:
    try:
        morsel = SimpleCookie(request.headers.get("cookie", "")[:4096]).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _other_page() -> Refusal:
    return Refusal(403, "this page is of another site; --allow-origin lets one in")
