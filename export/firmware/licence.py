"""The SPDX lines of generated files: the code is ours, the weights are the bundle's maker's."""

from export.firmware.names import c_text

CODE = "MIT"
"""The licence of the C around the weights, which is that of edgeemo."""
_KNOWN = """
    0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 CC-BY-4.0 CC-BY-NC-4.0 CC-BY-NC-SA-4.0
    CC-BY-SA-4.0 CC0-1.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later ISC
    LGPL-3.0-only LGPL-3.0-or-later MIT MPL-2.0 Unlicense Zlib
"""


def expression(licence: str) -> str:
    """The SPDX expression of C that holds the weights of a bundle of this `licence`, in words.

    What stands before the first semicolon is taken where it is an identifier of SPDX; anything else
    is a LicenseRef, whose words stand beside it in the file.
    """
    name = licence.split(";")[0].strip()
    return (
        CODE
        if name == CODE
        else f"{CODE} AND {name if name in _KNOWN.split() else 'LicenseRef-model'}"
    )


def listed(licence: str) -> str:
    """The same for manifests, which take nothing but identifiers of SPDX; else empty."""
    name = expression(licence)
    return "" if "LicenseRef" in name else name


def spdx(licence: str) -> str:
    """The first line of a file with weights in it."""
    return f"/* SPDX-License-Identifier: {expression(licence)} */"


def in_words(licence: str) -> str:
    """A comment that says what the bundle says of its licence."""
    return f"/* The weights' licence: {c_text(licence)} */"
