"""What a release needs, as tools/check_release.py sees it."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from builds import REPOSITORY

complaints = runpy.run_path(str(REPOSITORY / "tools" / "check_release.py"))["complaints"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files of a version 1.2.3 that is ready."""
    (tmp_path / "CMakeLists.txt").write_text("project(nncore VERSION 1.2.3 LANGUAGES NONE)\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 1.2.3 (2030-01-31)\n\n- New.\n\n## 1.2.2 (2029-01-31)\n"
    )
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://example.org/us/nncore"\n')
    return tmp_path


def test_a_tree_that_is_ready(tree: Path) -> None:
    assert complaints("v1.2.3", tree) == []


@pytest.mark.parametrize("tag", ["v1.2.4", "1.2.3", "v1.2.3rc1"])
def test_another_tag(tree: Path, tag: str) -> None:
    assert complaints(tag, tree) == [
        f"CMakeLists.txt has version 1.2.3, so the tag must be v1.2.3; got {tag}"
    ]


@pytest.mark.parametrize("section", ["1.2.3 (unreleased)", "1.2.2 (2029-01-31)"])
def test_no_section_in_the_changelog(tree: Path, section: str) -> None:
    (tree / "CHANGELOG.md").write_text(f"# Changelog\n\n## {section}\n")
    (found,) = complaints("v1.2.3", tree)
    assert found.endswith(f'got "## {section}"')


def test_urls_that_the_owner_has_not_set(tree: Path) -> None:
    (tree / "pyproject.toml").write_text(
        '[project.urls]\nIssues = "https://github.com/OWNER/nncore/issues"\n'
    )
    (found,) = complaints("v1.2.3", tree)
    assert found.startswith("Issues in [project.urls]")


def test_this_tree_has_what_the_check_reads() -> None:
    assert complaints("v0.0.0")[0].endswith("got v0.0.0")


@pytest.mark.parametrize("page", ["RELEASING.md", "SECURITY.md", "docs/installation.md", "docs/stability.md"])
def test_files_that_pages_name_are_there(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    linked = [(REPOSITORY / page).parent / path for path in re.findall(r"\]\(([^)#:]+)\)", text)]
    named = [REPOSITORY / path for path in re.findall(r"`((?:tests|tools|docs|cpp)/[\w./+-]+)`", text)]
    assert linked or named
    assert [path for path in [*linked, *named] if not path.exists()] == []


def test_only_pyproject_has_the_url_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    url = re.escape(project["urls"]["Repository"])
    pages = [*REPOSITORY.glob("*.*"), *(REPOSITORY / "docs").glob("*.md")]
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages if page.is_file()}
    assert [name for name, text in texts.items() if re.search(url, text)] == ["pyproject.toml"]
