"""ROOT files → columns → scores → a file or lines; needs the extra [root]."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ._client import Model
from ._exceptions import InputError
from ._writers import Writer

STEP_EVENTS = 100_000


class Source(NamedTuple):
    """Files that are read one after the other.

    Attributes:
        paths: local files, or URLs that uproot can open.
        tree: name of the TTree or RNTuple in each; None where each has only one.
        step: events that are in memory at a time.
    """

    paths: Sequence[str]
    tree: str | None = None
    step: int = STEP_EVENTS


def score(model: Model, source: Source, write: Writer, progress: Callable[[int], object], **options: Any) -> int:
    """Scores all events in their order and returns how many there were.

    Raises:
        InputError: a file cannot be read or lacks a branch; nothing was sent for it.
    """
    if not model.features:
        raise InputError(f"{model.description.reference} declares no features: expected branch names to read")
    done = 0
    write(model.predict({feature: [] for feature in model.features}, **options))  # the form, for files without events
    for path in source.paths:
        with _opened(path, source.tree) as tree:
            _check_branches(path, model.features, tree)
            for events in _steps(path, tree, model.features, source.step):
                write(model.predict(events, **options))
                done += len(events[model.features[0]])
                progress(done)
    return done


@contextmanager
def _opened(path: str, name: str | None) -> Iterator[Any]:
    try:
        import awkward  # noqa: F401 - uproot gives its arrays
        import uproot
    except ImportError as error:
        raise InputError(f"{error}: install tfaas-client[root] to read ROOT files") from error
    with _translated(path):
        file = uproot.open(path)
    with file:
        kinds = ("TTree", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")
        names = [key for key, kind in file.classnames(cycle=False).items() if kind in kinds]
        if name is None and len(set(names)) != 1:
            raise InputError(
                f"{path} holds {', '.join(names[:20]) or 'no tree'}: expected one tree, or --tree to name it"
            )
        if name is not None and name not in names:
            raise InputError(f"{path} has no tree {name!r}: expected one of {', '.join(names[:20])}")
        with _translated(path):
            tree = file[name or names[0]]
        yield tree


def _check_branches(path: str, features: Sequence[str], tree: Any) -> None:
    missing = sorted(set(features) - set(tree.keys()))
    if missing:
        raise InputError(f"{path} has no branch {', '.join(map(repr, missing[:10]))}: the model expects it")


def _steps(path: str, tree: Any, features: Sequence[str], step: int) -> Iterator[Any]:
    wanted = set(features)
    steps = tree.iterate(filter_name=lambda branch: branch in wanted, step_size=step, library="ak")
    while True:
        with _translated(path):
            events = next(steps, None)
        if events is None:
            return
        yield {feature: events[feature] for feature in features}


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Takes all that uproot and the libraries below it raise for files that are absent or broken."""
    try:
        yield
    except Exception as error:  # they parse, and a broken file may break that anywhere
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
        raise InputError(f"{path} cannot be read: {reason or type(error).__name__}") from error
