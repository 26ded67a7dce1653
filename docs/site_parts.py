"""What the site has beyond Sphinx: its order, the reference of all exports, diagrams, examples.

All of it is derived from what is there already, so a name that is exported, a program in
`examples/` and a page in `howto/` show by themselves.
"""  # noqa: INP001 - an extension of Sphinx, beside its settings

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

import mmdr
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject, PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"

# The reference

PACKAGES = ("jidocode", "jidocode.otp", "jidocode.testing")
"""What exports names; of a name that two export, the last one here is where it is shown."""

PAGES = {
    "jidocode": "systems",
    "jidocode.otp": "sessions",  # types of arguments
    "jidocode.session": "sessions",
    "jidocode.session.conversation": "conversation",
    "jidocode.session.state": "conversation",
    "jidocode.session.journal": "conversation",
    "jidocode.session.project": "files",
    "jidocode.session.manager": "files",
    "jidocode.session.snapshots": "snapshots",
    "jidocode.session.commands": "commands",
    "jidocode.session.confinement": "commands",
    "jidocode.session.tools": "tools",
}
"""On which page of `reference/` the exports of `jidocode` are shown that come from a room of it."""


def exports() -> dict[str, tuple[str, str]]:
    """Return for each public name where it is imported from, and the module that defines it.

    Errors are shown in `jidocode.errors`, where their tree is.
    """
    found: dict[str, tuple[str, str]] = {}
    for package in PACKAGES:
        module = import_module(package)
        names = vars(module)
        getter = cast("FunctionType", names.get("_get", names["__getattr__"]))
        home_of = inspect.getclosurevars(getter).nonlocals["home_of"]  # the list of `lazy_names`
        for name in names["__all__"]:
            home = home_of.get(name, package)
            found[name] = ("jidocode.errors" if home == "jidocode.errors" else package, home)
    return dict(sorted(found.items()))


EXPORTS = exports()


def page_of(name: str) -> str:
    """Return the page of `reference/` that shows an export."""
    package, home = EXPORTS[name]
    if package != "jidocode":
        return package.removeprefix("jidocode.")
    if name.startswith("Async"):
        return "asyncio"
    while home not in PAGES:
        home = home.rpartition(".")[0]
    return PAGES[home]


class RstDirective(SphinxDirective):
    """A directive that stands for lines of reStructuredText."""

    option_spec: ClassVar[Any] = {}

    def lines(self) -> Iterator[str]:
        """Yield the lines."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return what they mean."""
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)


class Exports(RstDirective):
    """`.. exports:: PAGE`: the exports that page shows, each in full."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """Yield links to all, and a directive of autodoc for each: classes, functions, values."""
        names = [name for name in EXPORTS if page_of(name) == self.arguments[0]]
        yield ", ".join(f":py:obj:`~{EXPORTS[name][0]}.{name}`" for name in names)
        yield ""
        for kind in ("class", "exception", "function", "data"):
            for name in names:
                package, home = EXPORTS[name]
                value = getattr(import_module(home), name)
                if kind != kind_of(value):
                    continue
                if kind == "data":  # whose docstring autodoc would look for in `package`
                    docs = ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name), [])
                    yield from (f".. py:data:: {package}.{name}", "")
                    yield from (f"   {line}" for line in docs)
                else:
                    yield f".. auto{kind}:: {package}.{name}"
                    if kind in ("class", "exception"):
                        yield from ("   :members:", f"   :inherited-members: {FOREIGN_BASES}")
                yield ""


FOREIGN_BASES = "object, BaseException, Record, Struct, TypedDict, dict, tuple, str, Enum, OSError"
"""What a class inherits shows, but not from these and what is above them."""


def kind_of(value: object) -> str:
    """Return which directive shows an export."""
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isroutine(value) else "data"


def read_exactly(_app: Sphinx, doctree: nodes.document) -> None:
    """Have a name mean what it says, not whatever ends like it: which is slow, and ambiguous."""
    for node in doctree.findall(pending_xref):
        node.attributes.pop("refspecific", None)


def link_to_export(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """Resolve what autodoc cannot: names by which the code knows exports, and those of others.

    An annotation names a class by the module that defines it, or by its bare name; the reference
    shows it where it is imported from. The names of Python and of other packages stay without a
    link, because a build fetches nothing; so do words in a docstring that are code, and no name.
    What is left is a name of ours that the reference lacks, and is warned about.
    """
    if node["refdomain"] != "py":
        return None
    path = node["reftarget"].split(".")
    for start in reversed(range(len(path))):
        if path[start] in EXPORTS:
            domain = cast("PythonDomain", env.domains["py"])
            target = ".".join([EXPORTS[path[start]][0], *path[start:]])
            found = domain.resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], target, node, text
            )
            if found is not None:
                return found
    return text if node["reftype"] == "obj" or is_known(path) else None


ALIASES = {"BrutalKill", "Command", "Network", "Process", "Sends", "Begins", "Locks"}
"""What only annotations name: their meaning stands with the argument."""


def is_known(path: list[str]) -> bool:
    """Whether a name needs no place in the reference."""
    if path[0] != "jidocode" and len(path) > 1:
        return True
    home = None
    with suppress(ImportError, ValueError):  # a class, or no module at all
        home = import_module(".".join(path[:-1]))
    return (
        path[-1] in ALIASES
        or isinstance(getattr(home, path[-1], None), (TypeVar, ParamSpec))
        or any(hasattr(sys.modules.get(module), path[-1]) for module in FOREIGN)
    )


FOREIGN = ("builtins", "typing", "collections.abc", "datetime", "os", "pathlib", "types")
"""Whose names stand in annotations as they are."""


def hide_inner_arguments(
    _app: Sphinx,
    what: str,
    _name: str,
    _object: object,
    _options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Leave out the arguments of a class that no app makes: one that takes what is not exported."""
    # One that only a type checker imports has no module before it.
    ours = re.findall(r"\bjidocode\.[\w.]+\.(\w+)", signature or "")
    bare = re.findall(r": ([A-Z]\w*)[,)]", signature or "")
    taken = {*ours, *(name for name in bare if not is_known([name]))}
    if what == "class" and not taken <= {*EXPORTS, *ALIASES}:
        return "", returns
    return None


def read_as_prose(
    _app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking "Whether to go on: ..." of an attribute for its type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def draw_trees(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Keep the form of a tree that is drawn in a docstring."""
    text = "\n".join(lines)
    if "├──" in text:
        blocks = text.split("\n\n")
        drawn = [
            "::\n\n" + re.sub("^", "    ", block, flags=re.MULTILINE) if "├──" in block else block
            for block in blocks
        ]
        lines[:] = "\n\n".join(drawn).split("\n")


# The pages


class Examples(RstDirective):
    """`.. examples::`: all programs in `examples/`, with their text."""

    def lines(self) -> Iterator[str]:
        """Yield a section for each."""
        for path in sorted(EXAMPLES.glob("*.py")):
            yield from (f".. _example-{path.stem}:", "", path.name, "-" * len(path.name), "")
            yield from (f".. literalinclude:: /../examples/{path.name}", "   :language: python", "")


def prepare(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Make a page of plain Markdown one of the site.

    - A link to a program in `examples/` leads to its text in the site: the file itself is not
      part of it, and where the repository is found a page cannot know.
    - So does one to the changelog, whose page in the reference is what stands above the docs.
    - A page `index.md` gets the tables of contents that its headings and lists of links are; that
      of a folder has all its other pages, too.
    """
    text = source[0]
    if docname == "reference/changelog":
        text = (DOCS.parent / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](../")
    text = re.sub(r"\]\((?:\.\./)+examples/(\w+)\.py\)", r"](#example-\1)", text)
    text = re.sub(r"\]\((?:\.\./)+CHANGELOG\.md", "](/reference/changelog.md", text)
    if docname.rpartition("/")[2] == "index" and not docname.startswith("reference"):
        text += "\n".join(["", *contents(docname, text)])
    source[0] = text


def contents(docname: str, text: str) -> Iterator[str]:
    """Yield the table of contents for each heading of a page that has a list of links."""
    folder = (DOCS / docname).parent
    linked: set[str] = set()
    for part in re.split(r"^#", text, flags=re.MULTILINE):
        heading, _, rest = part.partition("\n")
        pages = re.findall(r"^- \[[^]]+\]\(([\w/-]+)\.(?:md|rst)\)", rest, re.MULTILINE)
        if pages:
            linked.update(pages)
            yield from (
                "```{toctree}",
                ":hidden:",
                f":caption: {heading.strip('# ')}",
                "",
                *pages,
                "```",
                "",
            )
    others = {path.stem for path in folder.glob("*.md")} - linked - {"index"}
    if others and folder != DOCS:
        yield from ("```{toctree}", *sorted(others), "```")


def draw_diagrams(app: Sphinx, doctree: nodes.document) -> None:
    """Draw each block of Mermaid here, so that a reader's browser has to fetch nothing."""
    if app.builder.format != "html":
        return
    for block in list(doctree.findall(nodes.literal_block)):
        if block.get("language") == "mermaid":
            svg = mmdr.render(block.astext()).svg()
            html = f'<div style="background: white; padding: 1em">{svg}</div>'
            block.replace_self(nodes.raw("", html, format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    missing = set(map(page_of, EXPORTS)) - {path.stem for path in DOCS.glob("reference/*.rst")}
    if missing:
        raise ExtensionError(f"reference/ has no page for exports of {sorted(missing)}")
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.add_directive("exports", Exports)
    app.add_directive("examples", Examples)
    app.connect("source-read", prepare)
    app.connect("doctree-read", draw_diagrams)
    app.connect("doctree-read", read_exactly)
    app.connect("autodoc-process-signature", hide_inner_arguments)
    app.connect("autodoc-process-docstring", read_as_prose, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", draw_trees, priority=900)  # after it
    app.connect("missing-reference", link_to_export)
    return {"parallel_read_safe": True}
