"""An environment in which PyPI's unrelated package "nncore" was installed before nncore-cpu, or after it.

pip installs both, and uninstalls, in virtual environments that hold nothing else. The unrelated package is a
small imitation: its __init__.py, and one of its folders.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nncore as nc

REMEDY = "-m pip uninstall --yes nncore nncore-cpu\nand install nncore-cpu again."
UNRELATED = {"nncore/__init__.py": b"__version__ = '0.4.7'\n", "nncore/engine/__init__.py": b""}


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    path, info = folder / f"{stem}-py3-none-any.whl", f"{stem}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*contents, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in contents.items():
            archive.writestr(file, content)
    return path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    root = Path(nc.__file__).parent
    ours = {
        f"nncore/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {
        "ours": wheel(folder, "nncore-cpu", nc.__version__, ours),
        "unrelated": wheel(folder, "nncore", "0.4.7", UNRELATED),
    }


class Environment:
    """A virtual environment with NumPy and no more."""

    def __init__(self, root: Path) -> None:
        venv.create(root, symlinks=os.name != "nt")
        paths = {
            key: sysconfig.get_path(key, "venv", {"base": root, "platbase": root})
            for key in ("purelib", "scripts")
        }
        self.site, self.python = Path(paths["purelib"]), Path(paths["scripts"], Path(sys.executable).name)
        numpy = Path(np.__file__).parent
        for part in (numpy, numpy.with_name("numpy.libs")):
            if part.is_dir():
                (self.site / part.name).symlink_to(part, target_is_directory=True)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run(
            [self.python, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def pip(self, command: str, *arguments: str | Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", command]
        subprocess.run([*pip, *arguments], check=True, capture_output=True)


def environment(root: Path, wheels: dict[str, Path], order: list[str]) -> Environment:
    made = Environment(root)
    for name in order:
        made.pip("install", "--no-deps", "--no-index", wheels[name])
    return made


def check_broken_then_repaired(made: Environment, wheels: dict[str, Path]) -> None:
    """What uninstalling the unrelated package leaves, and that the remedy helps."""
    made.pip("uninstall", "--yes", "nncore")
    config = made.run("-m", "nncore", "config")
    assert config.returncode == 1
    assert f"{made.site / 'nncore' / '__init__.py'} is missing" in config.stderr
    assert REMEDY in config.stderr
    made.pip("uninstall", "--yes", "nncore", "nncore-cpu")
    made.pip("install", "--no-deps", "--no-index", wheels["ours"])
    done = made.run("-W", "error", "-m", "nncore", "config")
    assert (done.returncode, done.stderr) == (0, "")


def test_installed_first_it_is_named_at_import(tmp_path: Path, wheels: dict[str, Path]) -> None:
    made = environment(tmp_path, wheels, ["unrelated", "ours"])
    said = made.run("-c", "import nncore\nnncore.Dense(2, 3)")
    assert said.returncode == 0
    assert said.stderr.startswith("<string>:1: UserWarning: PyPI's unrelated package nncore 0.4.7 is in ")
    assert REMEDY in said.stderr
    config = made.run("-W", "ignore", "-m", "nncore", "config")
    assert config.returncode == 1
    assert f"version: {nc.__version__}\n" in config.stdout
    assert REMEDY in config.stderr
    check_broken_then_repaired(made, wheels)


def test_installed_last_it_is_named_by_the_command_line(tmp_path: Path, wheels: dict[str, Path]) -> None:
    made = environment(tmp_path, wheels, ["ours", "unrelated"])
    assert made.run("-c", "import nncore; nncore.Dense").returncode == 1  # none of our code runs
    config = made.run("-m", "nncore", "config")
    assert config.returncode == 1
    assert f"version: {nc.__version__}\n" in config.stdout
    assert "PyPI's unrelated package nncore 0.4.7 has overwritten " in config.stderr
    assert REMEDY in config.stderr
    demo = made.run("-m", "nncore", "demo", "--out", str(tmp_path / "demo"))
    assert (demo.returncode, demo.stderr) == (1, config.stderr.lstrip())
    check_broken_then_repaired(made, wheels)
