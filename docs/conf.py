"""How Sphinx builds the site (`make docs`); what is particular to us is in `site_parts.py`.

The pages are plain Markdown, which reads as well on GitHub or in an editor: no directive stands
in them. What a site needs beyond that, the order of its pages among it, is taken from the links
of `index.md`; only the reference is made of directives, in `reference/`.
"""  # noqa: INP001 - settings of a tool, not a package

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "jidocode"
author = "The jidocode developers"
version = release = version_of("jidocode")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_parts"]
exclude_patterns = ["_build"]

# Each link has to lead somewhere, each name in a docstring to something: `-W` makes that errors.
nitpicky = True
myst_heading_anchors = 4

default_role = "py:obj"  # in our docstrings, `close` is code, and a link where there is such a name
autodoc_member_order = "bysource"
toc_object_entries = False  # each page of the reference begins with links to all of it
highlight_language = "text"
napoleon_use_ivar = True  # "Attributes:" of a class, as one list; the types stand above it
napoleon_attr_annotations = False
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"jidocode {release}"
html_copy_source = False
html_show_sphinx = False
