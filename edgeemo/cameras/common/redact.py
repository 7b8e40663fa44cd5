"""Keeps users and passwords out of names, messages and logs."""

import re

# Up to the last @ before a blank: a password may contain an @ or a slash that should have been
# escaped.
_IN_AUTHORITY = re.compile(r"://[^\s\"']*@")
_WORDS = r"user|usr|login|pass|pwd|psw|pw|token|key|auth|secret|sig|session|credential"
_IN_QUERY = re.compile(rf"([?&;][\w.-]*(?:{_WORDS})[\w.-]*=)[^&;\s\"']*", re.IGNORECASE)
# Properties of GStreamer's elements: user-id, user-pw, proxy-pw, passphrase, …
_IN_PROPERTY = re.compile(
    rf"(\b[\w-]*(?:{_WORDS})[\w-]*\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s!&;?]+)", re.IGNORECASE
)


def redacted(text: str) -> str:
    """A URL, a pipeline or a message with *** where users and passwords stand.

    May hide more than it has to.
    """
    text = _IN_AUTHORITY.sub("://***@", text)
    text = _IN_QUERY.sub(r"\1***", text)
    return _IN_PROPERTY.sub(r"\1***", text)
