"""The documentation site: ./scripts/site. Pages are the repository's Markdown where it stands.

The source folder is the repository's root, so that a link from one page to another is the same link
on a code host and here, and a broken one ends the build. Nothing is fetched: no remote font, no
remote script, no inventory of another project.
"""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.ext.napoleon import Config, GoogleDocstring

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from edgeemo.version import __version__  # noqa: E402

project = "edgeemo"
author = "the edgeemo authors"
project_copyright = "2026, the edgeemo authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "training/README.md",
    "firmware_examples/**/README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "MODEL_CARD.md",
    "SECURITY.md",
    "SUPPORT.md",
]
# Other folders are not even walked: environments, runs and data lie beside the sources.
_PAGES = {"docs", "training", "firmware_examples"}
exclude_patterns = [
    path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in _PAGES
]
exclude_patterns += ["docs/site"]

# Markdown as a code host reads it: no extension of its syntax.
myst_heading_anchors = 4
myst_enable_extensions = []
# "--json" must stay two hyphens.
smartquotes = False

# Every reference must lead somewhere; the types of other packages are named, not linked.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(np|numpy|npt|NDArray|collections|os|pathlib|types|typing|click)\b.*"),
    (r"py:class", r"(dict|tuple|list)\[.*"),
    # Types of the package that are no public names.
    (r"py:.*", r"edgeemo\..*"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"edgeemo {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
# The root of the site leads to docs/index.html.
html_extra_path = ["root"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "footer_icons": [],
    "navigation_with_keys": True,
}


def examples_as_code(_app: Any, _context: Any, lines: list[str]) -> None:
    """A command's examples, which sphinx-click gives as lines of verse, become a block of code."""
    made: list[str] = []
    for line in lines:
        verse = re.match(r"\| ?(.*)", line)
        if verse is None:
            made.append(re.sub(r"([*_|])", r"\\\1", line))
        elif made and made[-1].startswith("    "):
            made.append(f"    {verse[1]}")
        else:
            made += [".. code-block:: text", "", f"    {verse[1]}"]
    lines[:] = made


def stars_as_they_are(_app: Any, _context: Any, lines: list[str]) -> None:
    """A star in the help of an option is one, as in *.jpg."""
    lines[:] = [line if ".. option::" in line else re.sub(r"\*", r"\\*", line) for line in lines]


def as_restructured_text(
    _app: Any, what: str, name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """What a docstring indents behind a colon is code; Args and Raises become fields.

    By Napoleon's class and not as its extension, which takes "Seconds: when" below an attribute
    for the attribute's type.
    """
    for i, line in enumerate(lines[:-2]):
        opens = line.endswith(":") and not line.endswith("::") and not line.startswith(":")
        if opens and not lines[i + 1].strip() and lines[i + 2].startswith("    "):
            lines[i] += ":"
    if name == "edgeemo.errors":  # its tree of names
        lines[:] = ["What is raised on purpose::", "", *(f"    {line}" for line in lines)]
    if what not in ("attribute", "property", "data", "module"):
        lines[:] = str(GoogleDocstring(list(lines), Config(), what=what, name=name)).splitlines()


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("sphinx-click-process-description", examples_as_code)
    app.connect("sphinx-click-process-options", stars_as_they_are)
    app.connect("autodoc-process-docstring", as_restructured_text)
