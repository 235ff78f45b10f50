"""Links that work on GitHub and in the site, and links from names in backticks to the reference."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import python_reference
from docutils import nodes
from sphinx import addnodes

import nncore

ROOT = Path(__file__).parents[2]
#: Pages of the site whose text is a file outside docs.
ELSEWHERE = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md", "readme": "README.md"}
PAGES = {file: f"/{page}.md" for page, file in ELSEWHERE.items()}
LINK = re.compile(r"(!?)\[([^\]\[]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
PUBLIC = frozenset(python_reference.public_names())
#: Pages where a capitalized name alone, such as `Dense`, is the public one.
USER_PAGES = ("tutorial", "math", "index", "changelog", "guides/", "derivations/")


def setup(app: Any) -> dict[str, bool]:
    """Registers the functions below."""
    app.add_config_value("repository_url", "", "env")
    app.connect("source-read", read)
    app.connect("doctree-read", link_names)
    app.connect("missing-reference", find_public, priority=400)
    return {"parallel_read_safe": True}


def read(app: Any, docname: str, source: list[str]) -> None:
    """Replaces relative links out of docs by links to pages of the site or to the repository.

    A link whose text is the name of a file gets the title of the page as text.
    """
    if not str(app.env.doc2path(docname)).endswith(".md"):
        return
    file = f"docs/{docname}.md"
    if docname in ELSEWHERE:
        file = ELSEWHERE[docname]
        source[0] = (ROOT / file).read_text(encoding="utf-8")
        app.env.note_dependency(str(ROOT / file))

    def replaced(found: re.Match[str]) -> str:
        mark, text, target, anchor = found.groups(default="")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        if not (ROOT / path).exists():
            return found[0]  # Sphinx warns
        if path in PAGES:
            target = PAGES[path]
        elif path.startswith("docs/"):
            target = path.removeprefix("docs")
        else:
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            return f"[{text}]({app.config.repository_url}/{kind}/main/{path}{anchor})"
        return f"{mark}[{'' if text.endswith('.md') else text}]({target}{anchor})"

    source[0] = LINK.sub(replaced, source[0])


def link_names(app: Any, doctree: nodes.document) -> None:
    """Makes links of the names in backticks: Python's, C++'s after the word C++, and tests'."""
    docname = app.env.docname
    if not str(app.env.doc2path(docname)).endswith((".md", ".ipynb")):
        return
    for literal, cpp in literals(doctree):
        text = literal.astext()
        target = target_of(text, docname, literal, cpp)
        if target is None:
            continue
        domain, role, name = target
        reference = addnodes.pending_xref(
            "", refdomain=domain, reftype=role, reftarget=name, refdoc=docname, refexplicit=True, refwarn=True
        )
        if domain == "cpp":
            reference["cpp:parent_key"] = None
            reference["refwarn"] = False
        literal.replace_self(reference)
        reference += literal


def literals(doctree: nodes.document) -> Iterator[tuple[nodes.literal, bool]]:
    """The names in backticks, and whether the last language named before them in the paragraph is C++."""
    for block in list(doctree.findall(lambda node: isinstance(node, nodes.paragraph))):
        cpp = False
        for node in list(block.findall()):
            if isinstance(node, nodes.Text) and not isinstance(node.parent, nodes.literal):
                for found in re.finditer(r"C\+\+|;|\. ", node):
                    cpp = found[0] == "C++"
            elif isinstance(node, nodes.literal) and not isinstance(
                node.parent, (nodes.reference, addnodes.pending_xref)
            ):
                yield node, cpp


def target_of(text: str, docname: str, literal: nodes.literal, cpp: bool) -> tuple[str, str, str] | None:
    """The domain, role and target of a name, or None for text that is no name of the reference."""
    found = re.fullmatch(r"([A-Za-z_][\w.]*)(\(.*\))?", text, flags=re.DOTALL)
    if found and found[2] not in (None, "()") and docname != "math":
        return None
    if found and not (cpp and "." not in found[1]):
        name = re.sub(
            r"^(nc|F|functional)\.", lambda m: {"nc": "nncore."}.get(m[1], "nncore.functional."), found[1]
        )
        if docname == "math" and "." not in name and in_first_column(literal):
            name = f"nncore.functional.{name}"
        if "." not in name and name.startswith("test_") and docname == "math":
            return ("std", "ref", name) if name in tests() else None
        first = name.split(".")[0]
        if first in nncore.__all__ and first[0].isupper() and docname.startswith(USER_PAGES):
            name = f"nncore.{name}"
        if is_documented(name):
            return "py", "obj", name
    if cpp and docname == "math" and re.fullmatch(r"[\w:]+", text) and text != "nncore":
        return "cpp", "any", f"nncore::{text}"
    return None


def is_documented(name: str) -> bool:
    """Whether the reference documents a qualified name: a public one, or a member of a public class."""
    if name in PUBLIC:
        return True
    owner, _, member = name.rpartition(".")
    if owner not in PUBLIC or member.startswith("_") or owner.count(".") != 1:
        return False
    value = getattr(nncore, owner.partition(".")[2])
    return isinstance(value, type) and bool(getattr(getattr(value, member, None), "__doc__", None))


def in_first_column(node: nodes.Node) -> bool:
    """Whether a node is in the first column of a table."""
    while node is not None and not isinstance(node, nodes.entry):
        node = node.parent
    return node is not None and node.parent.index(node) == 0


def tests() -> set[str]:
    """The tests on the page of plain loops."""
    text = (ROOT / "docs" / "api" / "loops.rst").read_text(encoding="utf-8")
    return set(re.findall(r"^\.\. _(test_\w+):", text, flags=re.MULTILINE))


def find_public(app: Any, env: Any, node: addnodes.pending_xref, contents: nodes.Node) -> nodes.Node | None:
    """Resolves what type hints name, such as nncore.layers.dense.Dense, to the public name."""
    target = node.get("reftarget", "")
    name = f"nncore.{target.rpartition('.')[2]}"
    if node.get("refdomain") != "py" or name not in PUBLIC or not re.match(r"(nncore\.|[A-Z])", target):
        return None
    domain = env.domains["py"]
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contents)
