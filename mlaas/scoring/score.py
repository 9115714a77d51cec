"""From files to scores, every step in order."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlaas.errors import DataError, ParameterError
from mlaas.inputs import parse_files
from mlaas.progress import progress_bar
from mlaas.scoring.bar import scoring_bar
from mlaas.scoring.errors import ScoringError
from mlaas.scoring.files import EventFile, examine_file
from mlaas.scoring.model import Model, score_columns
from mlaas.scoring.outputs import Output, Target, check_free, find_target, plan_outputs
from mlaas.scoring.parts import Parts
from mlaas.scoring.registry import open_scorer
from mlaas.scoring.work import Work

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ScoreOptions:
    """What `mlaas score` is asked for.

    Attributes:
        model: ``net``, ``net:3`` or ``net@alias`` in the registry, or the path of a bundle.
        files: Paths or URLs: a list, or as text, comma-separated, or the path of a text file with one a line.
        out: The file of all scores, ``.root`` or ``.parquet``, or a folder for a file of scores for each file.
        registry: Database (sqlite:///FILE, postgresql://…) or server (http://…).
        tree: Name of the tree, where the files have several.
        dtype: Format of the files; by default their suffix tells.
        identifier: Branches to keep, comma-separated; by default those for run, luminosity block and event number.
        format: ``ttree``, ``rntuple`` or ``parquet``; by default what the name of the output says, else ``ttree``.
        step: Events to read at a time; by default so many as take 16 MB.
        resume: Go on with a scoring that was interrupted.
        force: Replace outputs, and throw away unfinished ones.
        skip_bad_files: Leave out files that can't be used, instead of giving up.
    """

    model: str
    files: str | Sequence[str | Path]
    out: str | Path
    registry: str | None = None
    tree: str | None = None
    dtype: str | None = None
    identifier: str | None = None
    format: str | None = None
    step: int | None = None
    resume: bool = False
    force: bool = False
    skip_bad_files: bool = False


@dataclass(frozen=True)
class Scored:
    """What was done.

    Attributes:
        model: Which version has scored, ``net:3``.
        outputs: The files of scores → how many events each has.
        columns: Names of the scores in them.
        left_out: Files that could not be used → why.
        seconds: Of the whole.
    """

    model: str
    outputs: dict[Path, int]
    columns: tuple[str, ...]
    left_out: dict[str, str]
    seconds: float


def score_files(options: ScoreOptions, tell: Tell) -> Scored:
    """Score every event of every file, in their order.

    Cuts are not applied: an output has an entry for each entry of its files. It appears when it is complete.

    Args:
        tell: Called with each line that a person should read.

    Raises:
        MlaasError: In one line, what the user can mend. What is done by then is kept for ``resume``.
    """
    started = time.perf_counter()
    if options.step is not None and options.step < 1:
        raise ParameterError(f"--step {options.step}: expected a number of events, 1 or more")
    target = find_target(Path(options.out), options.format)
    paths = parse_files(options.files) if isinstance(options.files, str) else list(map(str, options.files))
    if not paths:
        raise ParameterError("no files are given; expected at least one")
    with closing(open_scorer(options.model, options.registry)) as scorer:
        scores = score_columns(scorer)
        files, left_out = _examine(paths, options, scorer.model)
        outputs = plan_outputs(target, files)
        if not (options.resume and target.state.is_dir()):
            check_free(outputs, options.force)
        _tell_plan(files, outputs, scorer.model, scores, tell)
        job = _job(options, target, scorer.model, scores, files)
        with _parts(target, job, options, tell) as parts, scoring_bar(sum(file.entries for file in files)) as bar:
            work = Work(scorer, scores, target, options.step, parts, bar)
            done = _make_all(outputs, work, options.skip_bad_files, left_out)
    for reason in left_out.values():
        tell(f"note: left out: {reason}")
    seconds = time.perf_counter() - started
    rate = f"{bar.scored} events in {seconds:.1f} s, {bar.scored / seconds:,.0f} events/s"
    tell(f"scored {rate}; {sum(done.values())} are in {options.out}")
    return Scored(scorer.model.reference, done, tuple(scores), left_out, seconds)


def _make_all(outputs: Sequence[Output], work: Work, skip_bad_files: bool, left_out: dict[str, str]) -> dict[Path, int]:
    """Make the outputs, and return how many events each has; damaged files are added to ``left_out``."""
    done: dict[Path, int] = {}
    for output in outputs:
        events, bad = work.score(output, skip_bad_files)
        left_out |= bad
        if len(bad) < len(output.files):
            done[output.path] = events
    work.parts.remove()
    if not done:
        raise DataError(f"none of the files can be used; the first: {next(iter(left_out.values()))}")
    return done


def _examine(paths: Sequence[str], options: ScoreOptions, model: Model) -> tuple[list[EventFile], dict[str, str]]:
    """The files that can be used, and the others → why, where these are to be left out."""
    wanted = None
    if options.identifier is not None:
        wanted = [name.strip() for name in options.identifier.split(",") if name.strip()]
    files: dict[str, EventFile] = {}
    left_out: dict[str, str] = {}
    with progress_bar("opening") as opened:
        for count, path in enumerate(paths):
            opened(count, len(paths))
            try:
                file = examine_file(path, options.tree, options.dtype, model, wanted)
                if file.entries and file.identity in files:
                    raise DataError(f"{path}: the file is given twice, first as {files[file.identity].path}")
                files[file.identity if file.entries else path] = file
            except DataError as error:
                if not options.skip_bad_files:
                    raise
                left_out[path] = str(error)
    if not files:
        raise DataError(f"none of {len(paths)} files can be used; the first: {next(iter(left_out.values()))}")
    return list(files.values()), left_out


def _tell_plan(
    files: Sequence[EventFile], outputs: Sequence[Output], model: Model, scores: Sequence[str], tell: Tell
) -> None:
    entries = sum(file.entries for file in files)
    tell(f"{model.reference}: {len(model.features)} features in {model.width} columns, {', '.join(scores)} out")
    kept = ", ".join(outputs[0].identifiers) or "no run, luminosity block or event number, since none was found"
    tell(f"{entries} events of {len(files)} files; kept with the scores: {kept}")


def _job(
    options: ScoreOptions, target: Target, model: Model, scores: Sequence[str], files: Sequence[EventFile]
) -> dict[str, Any]:
    """What has to be the same for a scoring to go on, as JSON has it."""
    return {
        "model": model.reference,
        "digest": model.digest,
        "scores": list(scores),
        "format": target.format,
        "step": options.step,
        "identifiers": [{name: str(dtype) for name, dtype in file.identifiers.items()} for file in files],
        "files": [[file.identity, file.entries] for file in files],
    }


@contextmanager
def _parts(target: Target, job: dict[str, Any], options: ScoreOptions, tell: Tell) -> Iterator[Parts]:
    """The folder of unfinished scores, of which people are told when it stays."""
    try:
        if target.folder:
            target.path.mkdir(exist_ok=True)
        opened = Parts(target.state, job, options.resume, options.force)
    except OSError as error:
        raise ScoringError(f"{target.state}: cannot be written: {error.strerror}") from error
    with opened as parts:
        try:
            yield parts
        except BaseException:
            if parts.worth_keeping:
                tell(f"what is done is kept in {target.state}: --resume goes on with it")
            raise
