"""Saving on limited file systems, leftovers of killed saves, and names of any length."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc


def model(seed: int = 0) -> nc.Model:
    return nc.mlp([3, 4, 2], seed=seed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def refusing(
    number: int, only: Callable[..., bool] = lambda *_: True, then: Any = None
) -> Callable[..., Any]:
    """A system call that fails."""

    def refuse(*given: Any, **_: Any) -> Any:
        if only(*given):
            raise OSError(number, os.strerror(number))
        return then(*given)

    return refuse


def is_folder(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").is_dir()


# Limited file systems -----------------------------------------------------------------------------------

LACKING = [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EROFS]


@pytest.mark.parametrize("number", LACKING)
@pytest.mark.parametrize("step", ["os.fsync", "shutil.copymode", "fcntl.flock", "os.scandir"])
def test_a_mount_that_lacks_something_is_written_to(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    for seed in (1, 2):  # a new file, and an existing one
        with monkeypatch.context() as patch:
            patch.setattr(step, refusing(number))
            model(seed).save(path)
        assert nc.load(path).seed == seed
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("number", [*LACKING, errno.EIO, errno.ENOSPC, errno.EBADF])
def test_a_file_in_its_place_is_never_reported_as_failed(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The result of syncing the folder does not matter."""
    monkeypatch.setattr("os.fsync", refusing(number, is_folder, os.fsync))
    model().save(path)
    assert nc.load(path).seed == 0


def test_a_folder_that_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may be writable even so."""
    monkeypatch.setattr("os.open", refusing(errno.EACCES, lambda name, *_: Path(name).is_dir(), os.open))
    model().save(path)
    monkeypatch.undo()
    assert nc.load(path).seed == 0


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_or_broken_is_an_error_that_names_the_path(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    model(1).save(path)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refusing(number))
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            model(2).save(path)
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert nc.load(path).seed == 1
    assert list(path.parent.iterdir()) == [path]


def test_errors_name_the_path_that_was_given(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "model.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        model().save(path)
    assert caught.value.filename == str(path)


# Names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "a b[0-9]*?.(x)", ".hidden", "new\nline", "-"])
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for seed in (1, 2):
        model(seed).save(path)
        assert nc.load(path).seed == seed
    assert list(tmp_path.iterdir()) == [path]


# Leftovers ----------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import nncore as nc
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
nc.mlp([3, 4, 2], seed=7).save(sys.argv[1])
"""


def kill_while_saving(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["model.safetensors", "a" * 255, "m[o]d.*"])
def test_the_next_save_of_a_name_removes_what_killed_ones_left(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / name, tmp_path / "model"
    kill_while_saving(path)
    kill_while_saving(path)
    kill_while_saving(other)
    assert len(list(tmp_path.iterdir())) == 2  # one for each name: the second save cleaned up
    model().save(path)
    assert len(list(tmp_path.iterdir())) == 2  # the file, and the other name's leftover
    assert nc.load(path).seed == 0
    model().save(other)
    assert set(tmp_path.iterdir()) == {path, other}


def test_a_save_through_a_link_cleans_beside_the_file(path: Path, tmp_path: Path) -> None:
    kill_while_saving(path)
    link = tmp_path / "folder" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    model().save(link)
    assert set(tmp_path.iterdir()) == {path, link.parent}


def test_files_that_look_alike_stay(path: Path) -> None:
    others = [
        ".model.safetensors.tmp",
        ".model.safetensors.0123456789ab.bak",
        ".model.safetensors.0123456789AB.tmp",
        ".other.safetensors.0123456789ab.tmp",
        "model.safetensors.0123456789ab.tmp",
    ]
    for name in others:
        path.with_name(name).touch()
    folder = path.with_name(".model.safetensors.0123456789ab.tmp")
    folder.mkdir()
    link = path.with_name(".model.safetensors.abababababab.tmp")
    link.symlink_to(others[0])
    model().save(path)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, folder.name, link.name, *others}


def test_saves_at_the_same_time_do_not_take_each_other_for_litter(path: Path) -> None:
    errors: list[BaseException] = []

    def save(seed: int) -> None:
        try:
            for _ in range(40):
                model(seed).save(path)
                assert nc.load(path).seed in range(4)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert list(path.parent.iterdir()) == [path]


def test_a_save_is_no_litter_of_another_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program saves to the same name while a save is under way."""
    other = "import sys, nncore as nc; nc.mlp([3, 4, 2], seed=5).save(sys.argv[1])"
    sync, seen = os.fsync, []

    def save_meanwhile(descriptor: int) -> None:
        if not is_folder(descriptor):
            subprocess.run([sys.executable, "-c", other, str(path)], check=True)
            seen.append(nc.load(path).seed)
        sync(descriptor)

    monkeypatch.setattr("os.fsync", save_meanwhile)
    model(1).save(path)
    assert seen == [5]
    assert nc.load(path).seed == 1
    assert list(path.parent.iterdir()) == [path]


def test_the_permissions_of_a_private_file_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file gets the same permissions before anything is written to it."""
    model(1).save(path)
    path.chmod(0o600)
    copymode, seen = shutil.copymode, []

    def copy(source: Path, beside: Path) -> None:
        seen.append(beside.stat().st_size)
        copymode(source, beside)

    monkeypatch.setattr("shutil.copymode", copy)
    model(2).save(path)
    assert seen == [0]
    assert path.stat().st_mode & 0o777 == 0o600
    assert np.array_equal(nc.load(path).parameters, model(2).parameters)
