"""Arguments of the user's model function, besides the first."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlaas.errors import ModelError, listing, suggestion


def with_arguments(function: Callable[..., Any], arguments: Mapping[str, Any], path: Path) -> Callable[..., Any]:
    """The function with keyword arguments filled in; raises ModelError where it does not take them."""
    if not arguments:
        return function
    others = list(inspect.signature(function).parameters.values())[1:]
    kinds = {parameter.kind for parameter in others}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [parameter.name for parameter in others if parameter.kind in named]
    foreign = [name for name in arguments if name not in known]
    if foreign and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise ModelError(
            f"model file {path}: model() takes no argument {foreign[0]!r} besides its first:"
            f" expected {listing(known)}{suggestion(foreign[0], known)}"
        )
    return functools.partial(function, **arguments)
