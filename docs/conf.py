"""How Sphinx builds the site: `make docs`. Pages are the Markdown files of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402

import countae  # noqa: E402

project, author, version = "countae", "The countae developers", countae.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_site", "_build"]
html_theme, html_title = "furo", "countae"
html_copy_source = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
myst_heading_anchors = 3
autodoc_typehints = "none"  # they stand in the signature
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

# pages that stand elsewhere in the repository, under the names that they have in the site
MOVED = {
    "](../CONTRIBUTING.md": "](contributing.md",
    "](../config/README.md": "](reference/configuration.md",
    "](../CHANGELOG.md": "](changelog.md",
    "```mermaid": "```text",  # the arrows read well as text, and need no script from elsewhere
}


def moved(app: object, name: str, source: list[str]) -> None:
    """Let links of a page lead to the site's own pages."""
    for old, new in MOVED.items():
        source[0] = source[0].replace(old, new)


def setup(app: object) -> None:
    """Write the reference from the program itself before the pages are read."""
    reference.write(HERE / "reference")
    app.connect("source-read", moved)
    app.connect("include-read", lambda app, path, name, source: moved(app, name, source))
