"""Makes reStructuredText of docstrings that are written to be read as plain text."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import nncore._core

#: The signatures of compiled functions, from the stub.
STUB = Path(nncore._core.__file__).with_name("_core.pyi")
SPECIAL = re.compile(
    r"(``.+?``|`[^`]+`)|(?<![\\\w])(\*+|\|)|(\*+|\|)(?!\w)|(?<=\w)(\*+|\|)(?=\w)|(?<=\w)(_)(?!\w)"
)


def setup(app: Any) -> dict[str, bool]:
    """Registers the functions below."""
    app.connect("autodoc-process-docstring", escape, priority=400)  # before numpydoc
    app.connect("autodoc-process-signature", sign)
    return {"parallel_read_safe": True}


def escape(_app: Any, what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Escapes what reStructuredText would take for markup: the * and | of formulas.

    In a module's docstring, an indented block is code.
    """
    result: list[str] = []
    literal = False  # in a block after "::"
    for line in lines:
        indented = line.startswith(" ")
        if line and not indented:
            literal = False
        if not literal and indented and what == "module" and result and not result[-1]:
            result += [".. code-block:: text", ""]
            literal = True
        if literal or line.lstrip().startswith((">>>", "...")):
            result.append(line)
            continue
        result.append(SPECIAL.sub(lambda found: found[1] or "\\" + found[0], line))
        if line.rstrip().endswith("::"):
            literal = True
    lines[:] = result


def sign(
    _app: Any, _what: str, _name: str, value: Any, _options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    """Takes the signatures of compiled functions, which have none at run time, from the stub."""
    if not inspect.isbuiltin(value) or value.__name__ not in SIGNATURES:
        return None
    return SIGNATURES[value.__name__], None


def read_stub() -> dict[str, str]:
    """The signatures of the functions of the stub, without types. Python 3.11 cannot parse all of it."""
    signatures: dict[str, str] = {}
    text = STUB.read_text(encoding="utf-8")
    for name, arguments in re.findall(
        r"^def (\w+)(?:\[[^\]]*\])?(\(.*?\)) ->", text, flags=re.DOTALL | re.MULTILINE
    ):
        parsed = ast.parse(f"def f{arguments}: ...").body[0]
        assert isinstance(parsed, ast.FunctionDef)
        for argument in (*parsed.args.posonlyargs, *parsed.args.args, *parsed.args.kwonlyargs):
            argument.annotation = None
        signatures.setdefault(name, f"({ast.unparse(parsed.args)})")
    return signatures


SIGNATURES = read_stub()
