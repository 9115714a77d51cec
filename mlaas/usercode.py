"""The user's model file: Python that defines `model(idim)` or `model(features)`."""

import ast
import importlib
import inspect
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlaas.errors import ModelError, one_line
from mlaas.features import Feature, width
from mlaas.trainers.repeatable import standard_error_held_back

# Part of a message → what to do about it, after the message.
HINTS = {
    "'lr'": "Keras 3 spells it learning_rate",
    "'decay'": "Keras 3 takes a schedule, such as keras.optimizers.schedules.InverseTimeDecay, as learning_rate",
    "No module named 'keras.layers.": "Keras 3 has every layer in keras.layers",
    "No module named 'keras.wrappers": "return a scikit-learn estimator, or a Keras model, as it is",
    "np_utils": "Keras 3 has to_categorical in keras.utils",
    "No module named 'tensorflow.keras": "Keras 3 is imported as keras",
    "No module named 'MLaaS4HEP": "jagged branches come padded and filled, ready for torch.nn.Linear",
    "No module named 'torch'": "pip install 'hep-mlaas[torch]'",
    "No module named 'xgboost'": "pip install 'hep-mlaas[xgboost]'",
    "No module named 'lightgbm'": "pip install 'hep-mlaas[lightgbm]'",
}
# Where the model files of this process were.
_model_folders: set[Path] = set()
LOUD_WHEN_LOADED = {"keras", "tensorflow"}


def check_syntax(path: Path) -> None:
    """Raise ModelError unless the file is there and is Python; nothing of it is run."""
    try:
        compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise ModelError(f"model file {path}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ModelError(_located(path, error)) from error


def load_model_function(path: Path) -> Callable[[Any], Any]:
    """The function `model` of a Python file; raises ModelError that names the line at fault."""
    if LOUD_WHEN_LOADED & _imports(path):
        with standard_error_held_back():
            import keras  # noqa: F401 - so that the file finds it loaded
    _let_import_from(path.resolve().parent)
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ModelError(_located(path, error)) from error
    function = names.get("model")
    if not callable(function):
        raise ModelError(f"model file {path} defines no function model(idim)")
    return function  # type: ignore[no-any-return]


def _let_import_from(folder: Path) -> None:
    """Modules beside the file can be imported, as for a script.

    They are read anew in each training of a process, since they may have changed, or be those of another model.
    """
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    _model_folders.add(folder)
    for file in folder.glob("*.py"):
        known = getattr(sys.modules.get(file.stem), "__file__", None)
        if known is not None and Path(known).resolve().parent in _model_folders:
            del sys.modules[file.stem]
    importlib.invalidate_caches()


def build_model(function: Callable[[Any], Any], features: Sequence[Feature], path: Path) -> Any:
    """What `model` returns for the number of columns, or for the features where that is its parameter's name.

    Raises:
        ModelError: it names the line at fault.
    """
    argument = list(features) if "features" in _parameters(function) else width(features)
    try:
        return function(argument)
    except (Exception, SystemExit) as error:
        raise ModelError(_located(path, error)) from error


def _parameters(function: Callable[[Any], Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)[:1]
    except (TypeError, ValueError):  # some of those written in C
        return []


def _imports(path: Path) -> set[str]:
    """The packages that a file imports itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def _located(path: Path, error: BaseException) -> str:
    """The error in one line, with the last line of the user's file that led to it."""
    if isinstance(error, SyntaxError):
        return f"model file {path}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f", line {frames[-1].lineno}" if frames else ""
    message = one_line(str(error)) or "no message"
    hint = next((f"; {hint}" for part, hint in HINTS.items() if part in message), "")
    return f"model file {path}{where}: {type(error).__name__}: {message[:500]}{hint}"
