"""A picture out of a request's body, in memory alone; and frames as JPEG for those who may see them."""

import base64
import binascii
import re
from urllib.parse import unquote

from edgeemo.contract.checked import strict
from edgeemo.serve.request import JSON, Refusal

MOST_BYTES = 10 * 1024 * 1024
"""Of a picture that is sent."""
MOST_BODY = MOST_BYTES * 4 // 3 + 4096
"""Of the body around it; base64 in JSON takes a third more."""
_MOST_PARTS = 8
_MOST_HEADER = 4096  # characters of one that are looked at
# Of RFC 9110, 5.6.6. The standard library's parser of mail raises for some that no mail has.
_PARAMETER = re.compile(r";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\"\s]*))")
_PICTURE = re.compile(r"image/[a-z0-9.+-]+")


def media_type(header: str) -> tuple[str, str]:
    """The media type of a Content-Type, in small letters, and its boundary, "" without one."""
    kind, parameters = _parsed(header)
    return kind, parameters.get("boundary", "")


def _parsed(header: str) -> tuple[str, dict[str, str]]:
    """The word before a header's parameters, in small letters, and the first of each name."""
    word, _, rest = header[:_MOST_HEADER].partition(";")
    parameters: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(";" + rest):
        parameters.setdefault(name.lower(), re.sub(r"\\([\"\\])", r"\1", quoted) or plain)
    return word.strip().lower(), parameters


def is_served(header: str) -> bool:
    """Whether a body of this Content-Type can hold a picture."""
    kind, boundary = media_type(header)
    return kind == JSON or bool(_PICTURE.fullmatch(kind)) or bool(boundary and _is_form(kind))


def picture_in(header: str, body: bytes) -> tuple[str, bytes]:
    """Name and bytes of the picture in a body.

    Args:
        header: its Content-Type: a form's (the first file of it), JSON with the picture in base64,
            {"image": "..."}, or an image's.
        body: what was sent.

    Raises:
        Refusal: 400 without a picture, 413 for one of over MOST_BYTES.
    """
    kind, boundary = media_type(header)
    if _is_form(kind):
        name, data = _in_form(body, boundary)
    elif kind == JSON:
        name, data = "picture", _in_json(body)
    else:
        name, data = "picture", body
    if len(data) > MOST_BYTES:
        raise Refusal(413, f"expected a picture of at most {MOST_BYTES:,} bytes; scale it down")
    return name, data


def _is_form(kind: str) -> bool:
    return kind == "multipart/form-data"


def _in_json(body: bytes) -> bytes:
    try:
        value = strict.loads(body)
        return base64.b64decode(value["image"], validate=True)
    except (ValueError, TypeError, KeyError, binascii.Error):
        raise Refusal(400, 'expected {"image": "the picture in base64"}') from None


def _in_form(body: bytes, boundary: str) -> tuple[str, bytes]:
    """The first file of a form (RFC 7578). A library would put what is large on the disk."""
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    parts = (b"\r\n" + body).split(b"\r\n" + delimiter, _MOST_PARTS + 1)
    for part in parts[1:]:
        head, blank, content = part.partition(b"\r\n\r\n")
        name = _file_name(head)
        if blank and name is not None:
            return name[:200] or "picture", content
    raise Refusal(400, f"expected a file among the first {_MOST_PARTS} parts of the form")


def _file_name(head: bytes) -> str | None:
    """The file's name in a part's headers; None where it is no file."""
    for line in head[:_MOST_HEADER].decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            parameters = _parsed(value)[1]
            # Some clients send what RFC 7578 forbids, a name as in RFC 8187: UTF-8''na%C3%AFve.png
            extended = unquote(parameters.get("filename*", "").rpartition("'")[2])
            return parameters.get("filename", extended or None)
    return None
