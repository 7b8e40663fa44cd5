"""The page, one file without any outside address, and what it may do."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib import resources

from edgeemo.contract.languages import LANGUAGES, label_name

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page:
    """The page of one server.

    Args:
        labels: that readings can bring.
        language: one of edgeemo.contract.languages.LANGUAGES, which it speaks at first.
        show_frames: whether it shows frames.
    """

    def __init__(self, labels: Sequence[str], *, language: str, show_frames: bool) -> None:
        self._text = (
            resources.files("edgeemo.serve").joinpath("page.html").read_text(encoding="utf-8")
        )
        names = {each: [label_name(label, each, labels) for label in labels] for each in LANGUAGES}
        self._language = language
        self._config = {"labels": list(labels), "names": names, "frames": show_frames}
        hashes = {kind: _sha256(text) for kind, text in _INLINE.findall(self._text)}
        self.policy = (
            f"default-src 'none'; script-src '{hashes['script']}'; "
            f"style-src '{hashes['style']}'; img-src 'self' data:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        """Its Content-Security-Policy: these very scripts and styles, and this server alone."""

    def html(self, language: str = "") -> bytes:
        """The page in a language, by default the server's."""
        config = {**self._config, "language": language if language in LANGUAGES else self._language}
        words = html.escape(json.dumps(config, ensure_ascii=False))
        return self._text.replace("{{config}}", words, 1).encode()


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
