"""Writes the pages of the C++ reference, one for each header, from the XML that Doxygen makes of the comments."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

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
        raise SystemExit("The site needs Doxygen: pip install '.[docs]', or install your system's package doxygen.")
    output = root / "build" / "doxygen"
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / "xml", ignore_errors=True)
    settings = output / "Doxyfile"
    settings.write_text(SETTINGS.format(root=root, output=output), encoding="utf-8")
    subprocess.run([doxygen, str(settings)], check=True)
    return output / "xml"


def write(folder: Path, include: Path) -> None:
    """Writes a page for each header, and the page that lists them."""
    headers = sorted(include.rglob("*.hpp"))
    summaries = {header: summary(header) for header in headers}
    pages = {}
    lines = ["The headers are in ``cpp/include``; all names are in namespace ``nncore``.", ""]
    lines += [".. list-table::", "   :widths: 35 65", ""]
    for header, text in summaries.items():
        name = header.relative_to(include).as_posix()
        page = [*heading(header.name), text, "", "``#include <" + name + ">``", ""]
        page += [f".. doxygenfile:: {name}", "   :sections: innernamespace innerclass enum typedef func var", ""]
        pages[header.stem] = page
        lines += [f"   * - :doc:`{name} <{header.stem}>`", f"     - {text}"]
    pages["index"] = [*heading("C++ API"), *lines, "", *toctree(header.stem for header in headers)]
    write_changed(folder, pages)


def summary(header: Path) -> str:
    """The comment at the top of a header, as reStructuredText."""
    lines = []
    for line in header.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        lines.append(line.removeprefix("//").strip())
    return " ".join(lines).replace("*", r"\*").replace("|", r"\|").replace("_ ", r"\_ ")
