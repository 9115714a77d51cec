"""The user's model file: Python that defines `model(idim)`."""

import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlaas.errors import ModelError, one_line

HINTS = {"'lr'": "; Keras 3 spells it learning_rate"}


def check_syntax(path: Path) -> None:
    """Raise ModelError unless the file is there and is Python; nothing of it is run."""
    try:
        compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise ModelError(f"model file {path}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ModelError(_located(path, error)) from error


def load_model_function(path: Path) -> Callable[[int], Any]:
    """The function `model` of a Python file; raises ModelError that names the line at fault."""
    sys.path.insert(0, str(path.resolve().parent))  # as for a script: modules beside it can be imported
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ModelError(_located(path, error)) from error
    function = names.get("model")
    if not callable(function):
        raise ModelError(f"model file {path} defines no function model(idim)")
    return function  # type: ignore[no-any-return]


def build_model(function: Callable[[int], Any], width: int, path: Path) -> Any:
    """What `model(idim)` returns for `width` inputs; raises ModelError that names the line at fault."""
    try:
        return function(width)
    except (Exception, SystemExit) as error:
        raise ModelError(_located(path, error)) from error


def _located(path: Path, error: BaseException) -> str:
    """The error in one line, with the last line of the user's file that led to it."""
    if isinstance(error, SyntaxError):
        return f"model file {path}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f", line {frames[-1].lineno}" if frames else ""
    message = one_line(str(error)) or "no message"
    hint = next((hint for part, hint in HINTS.items() if part in message), "")
    return f"model file {path}{where}: {type(error).__name__}: {message[:500]}{hint}"
