"""The site builds without warnings, documents every public name, and has no broken links."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import pytest

import nncore
from builds import REPOSITORY, once_a_run, run

pytestmark = pytest.mark.slow

SITE = REPOSITORY / "build" / "site"
MODULES = ("functional", "plotting")


class Page(HTMLParser):
    """The anchors, links and images of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.anchors |= {value for key in ("id", "name") if (value := named.get(key))}
        self.links += [value for key in ("href", "src") if (value := named.get(key))]
        if tag == "img":
            self.images.append(named)


@pytest.fixture
def site() -> Path:
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip("these tests need Sphinx: pip install '.[docs]'")

    def make() -> None:
        options = ("-W", "--keep-going", "-b", "html", REPOSITORY / "docs", SITE)
        run(sys.executable, "-m", "sphinx", *options, timeout=1800)

    once_a_run("site", make)
    return SITE


@functools.cache
def pages() -> dict[Path, Page]:
    """The pages of the site."""
    return {path: Page(path) for path in SITE.rglob("*.html") if "_static" not in path.parts}


def public_names() -> set[str]:
    """The public names of nncore, those of its public modules, and the members of its classes."""
    names = {f"nncore.{name}" for name in nncore.__all__}
    for module in MODULES:
        names |= {
            f"nncore.{module}",
            *(f"nncore.{module}.{name}" for name in importlib.import_module(f"nncore.{module}").__all__),
        }
    for name in nncore.__all__:
        value = getattr(nncore, name)
        if inspect.isclass(value):
            own = (
                member
                for base in value.__mro__
                if base.__module__.startswith("nncore")
                for member in vars(base).items()
            )
            names |= {
                f"nncore.{name}.{key}"
                for key, member in own
                if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
            }
    return names


def test_every_public_name_is_documented(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    listed = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    documented = {name for role, names in listed.data.items() if role.startswith("py:") for name in names}
    assert len(public_names()) > 200
    assert public_names() - documented == set()
    assert {"nncore::dense_forward", "nncore::Network", "nncore::LossKind::huber"} <= {
        name for role, names in listed.data.items() if role.startswith("cpp:") for name in names
    }


def test_no_internal_link_is_broken(site: Path) -> None:
    broken = []
    for path, page in pages().items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path.parent / urllib.parse.unquote(parts.path) if parts.path else path
            target = target.resolve()
            anchor = urllib.parse.unquote(parts.fragment)
            anchors = pages()[target].anchors if target in pages() else {anchor}
            if not target.exists() or (anchor and anchor not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert len(pages()) > 100
    assert broken == []


def test_every_picture_has_a_text(site: Path) -> None:
    images = [(path.name, image) for path, page in pages().items() for image in page.images]
    assert len(images) >= 6
    assert [(page, image) for page, image in images if not (image.get("alt") or "").strip()] == []


def test_formulas_link_to_functions_and_to_plain_loops(site: Path) -> None:
    links = set(pages()[site / "math.html"].links)
    assert {
        "api/nncore.functional.html#nncore.functional.dense_backward",
        "api/nncore.Dense.html#nncore.Dense",
        "api/loops.html#test-dense-forward",
    } <= links
    tests = [link for link in links if link.startswith("api/loops.html#test-")]
    assert len(tests) >= 25


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in pages():
        text = path.read_text(encoding="utf-8")
        assert 'src="http' not in text, path
        assert '<link rel="stylesheet" type="text/css" href="http' not in text, path
