"""Lets threadpoolctl limit the core's threads, as it does those of BLAS and OpenMP."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAME = "threadpoolctl"


def register(threadpoolctl: Any) -> None:
    """Adds the core to the libraries that threadpoolctl controls. Versions before 3.2 cannot add any."""
    if not hasattr(threadpoolctl, "register"):
        return

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]  # it has no types
        """The core's thread pool. threadpoolctl identifies a library by its file name and symbols."""

        user_api = "nncore"
        internal_api = "nncore"
        filename_prefixes = ("_core",)
        check_symbols = ("PyInit__core_of_main_interpreter",)

        def get_num_threads(self) -> int:
            return _core.num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            _core.set_num_threads(max(num_threads, 1))

        def get_version(self) -> str:
            return _core.__version__

    threadpoolctl.register(Controller)


class _Loader:
    """Loads threadpoolctl with its original loader, then registers the core."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Creates the module with the original loader."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module, hands it back to the original loader and registers the core."""
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        register(module)


class _Finder:
    """Registers the core when threadpoolctl is imported. Importing it here would take longer than the rest
    of nncore.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders find, with a loader that registers. None for other modules."""
        if name != NAME:
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]  # it looks like one
        return spec


if NAME in sys.modules:
    register(sys.modules[NAME])
else:
    sys.meta_path.insert(0, _Finder())
