"""What must hold before a tag becomes a release: `python tools/check_release.py v0.1.0`.

The tag is the version of CMakeLists.txt, the changelog has its section, and the owner has set the URLs.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def complaints(tag: str, root: Path = REPOSITORY) -> list[str]:
    """What is missing, in words; nothing where the release can be made."""
    found = []
    text = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    version = re.findall(r"^project\(nncore VERSION ([\d.]+)", text, flags=re.MULTILINE)[0]
    if tag != f"v{version}":
        found.append(f"CMakeLists.txt has version {version}, so the tag must be v{version}; got {tag}")
    sections = re.findall(
        r"^## (.*)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    if not sections or not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", sections[0]):
        found.append(
            f'CHANGELOG.md must begin with "## {version} (YYYY-MM-DD)"; got "## {"".join(sections[:1])}"'
        )
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, url in project["urls"].items():
        if "/OWNER/" in url:
            found.append(f"{name} in [project.urls] of pyproject.toml must be the project's own; got {url}")
    return found


if __name__ == "__main__":
    for complaint in (missing := complaints(sys.argv[1])):
        print(complaint, file=sys.stderr)
    sys.exit(bool(missing))
