"""`mlaas`: options in, one call to the workflow, lines for people out."""

import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mlaas import __version__
from mlaas.errors import MlaasError
from mlaas.interrupts import INTERRUPTED, Interrupted

PATH = click.Path(path_type=Path)
Command = Callable[..., Any]
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlaas")
def cli() -> None:
    """Train models on HEP files and publish them."""


# What every training takes, alone or as one of many.
TRAINING = (
    click.option(
        "--files", help="Files or URLs, comma-separated, or a text file of them, or a folder of mlaas prepare."
    ),
    click.option("--labels", help="A label for each file, or a text file of them, or the label's branch."),
    click.option("--model", type=PATH, help="Python file that defines model(idim)."),
    click.option("--params", type=PATH, help="params.json: epochs, batch_size, branch, exclude_branches, ..."),
    click.option("--preproc", type=PATH, help="preproc.json or preproc.yaml: new branches and cuts."),
    click.option("--specs", type=PATH, help="Statistics of the first pass: used if the file is there, else written."),
    click.option("--dtype", help="Format of the files; by default their suffix tells."),
    click.option("--name", help="Name of the model (default: that of the model file)."),
    click.option("--publish", help="Registry (sqlite:///FILE, postgresql://...) or server (http://...) to publish to."),
    click.option("--alias", help="Let this alias point at the new version, such as production."),
    click.option("--any-owner", is_flag=True, help="Publish although the model's name is somebody else's."),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all that is random."
    ),
    click.option("--summary", type=PATH, help="Where to write the result as JSON."),
    click.option(
        "--skip-bad-files", is_flag=True, help="Read all files once more, and leave out those that can't be used."
    ),
)


def _training(command: Command) -> Command:
    for option in reversed(TRAINING):
        command = option(command)
    return command


@cli.command()
@_training
@click.option("--fout", type=PATH, help="Where to save: .tar.gz for the bundle; .onnx, .keras, ... the model alone.")
@click.option(
    "--promote-if", metavar="CONDITION", help="Move the alias only if this holds, such as 'auc > production'."
)
@click.option("--run", type=PATH, help="New folder for all of this run (default: mlaas-runs/NAME-TIME).")
@click.option("--resume", type=PATH, help="Folder of a run that was stopped or killed, to go on with; nothing else.")
@click.option("--folds", type=int, metavar="N", help="Train N models, and make one of them that scores all events.")
@click.option("--fold", metavar="K/N", help="Train the model that is tested on events whose number is K modulo N.")
@click.pass_context
def train(context: click.Context, /, resume: Path | None, **options: Any) -> None:
    """Read, select, assemble, train, export and publish, in one go."""
    from mlaas import crossvalidation
    from mlaas.options import TrainOptions

    _check_given(context, resume, options, ("files", "model"))
    if resume is None:
        crossvalidation.train_and_publish(TrainOptions(**options), click.echo)
    else:
        crossvalidation.resume(resume, click.echo)


@cli.command()
@_training
@click.option("--space", type=PATH, help="JSON or YAML: parameters with lists of choices, or low and high.")
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="How many trainings.")
@click.option(
    "--metric", type=click.Choice(["validation_loss", "validation_auc"]), default="validation_loss", show_default=True
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="Trainings at the same time.")
@click.option("--dask", metavar="ADDRESS", help="Scheduler of a Dask cluster that trains; it must see the same files.")
@click.option("--output", type=PATH, help="New folder for all trials.")
@click.option("--resume", type=PATH, help="Folder of a sweep that was stopped or killed, to go on with; nothing else.")
@click.pass_context
def sweep(context: click.Context, /, resume: Path | None, **options: Any) -> None:
    """Train with other parameters, and publish the best model."""
    from mlaas.options import TrainOptions
    from mlaas.sweep import SweepOptions, resume_sweep
    from mlaas.sweep import sweep as run

    _check_given(context, resume, options, ("files", "model", "space", "output"))
    if resume is None:
        own = {name: options.pop(name) for name in ("space", "trials", "metric", "processes", "dask", "output")}
        run(SweepOptions(TrainOptions(**options), **own), click.echo)
    else:
        resume_sweep(resume, click.echo)


def _check_given(context: click.Context, resume: Path | None, options: dict[str, Any], needed: tuple[str, ...]) -> None:
    """What goes on has its own options; else those that are `needed` have to be given; raises UsageError."""
    given = [name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if resume is not None and given:
        option = given[0].replace("_", "-")
        raise click.UsageError(f"--{option} and --resume are both given: it goes on with the options it was given.")
    if resume is None:
        for name in needed:
            if options[name] is None:
                raise click.UsageError(f"Missing option '--{name}'.")


@cli.command()
@click.argument("file")
@click.option("--tree", help="Name of the tree; needed where the file has several.")
@click.option("--branches", default="", help="Names and patterns such as Jet_*, comma-separated (default: all).")
@click.option("--dtype", help="Format of the file; by default its suffix tells.")
@click.option("--nevts", type=int, default=-1, show_default=True, help="How many events to read, -1 for all.")
@click.option(
    "--hist", type=PATH, help="Draw all branches: a .pdf, a .png (several where they fill pages), or a folder."
)
@click.option("--normalisation", default="minmax", show_default=True, help="Of --hist: minmax, zscore, robust or none.")
@click.option("--json", "machine", is_flag=True, help="Write JSON instead of a table.")
def inspect(
    file: str,
    tree: str | None,
    branches: str,
    dtype: str | None,
    nevts: int,
    hist: Path | None,
    normalisation: str,
    machine: bool,
) -> None:
    """Show trees, branches, their ranges and what is missing of one FILE."""
    import json

    from rich.console import Console

    from mlaas.inspection import as_json, draw_branches, inspect_file, pages, print_inspection
    from mlaas.normalisation import checked
    from mlaas.progress import progress_bar

    selected = [name.strip() for name in branches.split(",") if name.strip()]
    target = pages(hist) if hist else None
    checked(normalisation)
    with progress_bar("reading") as update:
        found = inspect_file(file, tree, dtype, selected, nevts, update)
    if machine:
        click.echo(json.dumps(as_json(found), indent=1))
    else:
        print_inspection(found, Console())
    for path in draw_branches(target, found, dtype, normalisation) if target else []:
        click.echo(f"drawn: {path}", err=True)


@cli.command()
@click.option("--files", required=True, help="ROOT files or root:// URLs, comma-separated, or a text file of them.")
@click.option("--labels", required=True, help="A label for each file, or a text file of them, or the label's branch.")
@click.option("--output", required=True, type=PATH, help="New folder for the events, which mlaas train --files takes.")
@click.option("--params", type=PATH, help="params.json, the same as for the training.")
@click.option("--preproc", type=PATH, help="preproc.json or preproc.yaml: new branches and cuts.")
@click.option("--specs", type=PATH, help="Statistics of the first pass: used if the file is there, else written.")
@click.option("--dtype", help="Format of the files; by default their suffix tells.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the split.")
@click.option("--dask", metavar="ADDRESS", help="Scheduler of a Dask cluster that does the work.")
@click.option("--processes", type=click.IntRange(1), help="So many processes of this machine do the work.")
def prepare(**options: Any) -> None:
    """Read, select and assemble events once, to train on them many times."""
    from mlaas.prepare import PrepareOptions, prepare_events

    prepare_events(PrepareOptions(**options), click.echo)


@cli.command()
@click.option("--model", required=True, help="NAME, NAME:3 or NAME@alias in the registry, or a bundle (.tar.gz).")
@click.option("--files", required=True, help="Files or URLs, comma-separated, or a text file of them.")
@click.option(
    "--out", required=True, type=PATH, help="A .root or .parquet for all files, or a folder for one an input."
)
@click.option("--registry", help="Registry (sqlite:///FILE, postgresql://...), or server (http://...) that runs it.")
@click.option("--tree", help="Name of the tree; needed where the files have several.")
@click.option("--dtype", help="Format of the files; by default their suffix tells.")
@click.option("--identifier", help="Branches to keep (default: those for run, luminosity block and event number).")
@click.option("--format", type=click.Choice(["ttree", "rntuple", "parquet"]), help="Of the output (default: ttree).")
@click.option("--step", type=click.IntRange(1), help="Events to read at a time (default: about 16 MB of them).")
@click.option("--resume", is_flag=True, help="Go on with a scoring that was interrupted.")
@click.option("--force", is_flag=True, help="Replace outputs, and throw away unfinished ones.")
@click.option("--skip-bad-files", is_flag=True, help="Leave out files that can't be used.")
def score(**options: Any) -> None:
    """Give every event of the files a score, in their order."""
    from mlaas.scoring import ScoreOptions, score_files

    score_files(ScoreOptions(**options), click.echo)


def main() -> None:
    """Exit codes: 0 done, 2 the user can mend it, 1 our fault, 130 interrupted."""
    _quieten_tensorflow()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # what batch systems send leaves as little as Ctrl-C
    try:
        cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("mlaas: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Interrupted as error:
        print(f"mlaas: interrupted: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        print(f"mlaas: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except MlaasError as error:
        print(f"mlaas: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left in the buffer of Python goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in NO_ROOM:
            traceback.print_exc()
            sys.exit(1)
        print(f"mlaas: cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except Exception:  # noqa: BLE001 - the last place where an error can be told
        traceback.print_exc()
        sys.exit(1)


def _quieten_tensorflow() -> None:
    """Its start-up messages would bury ours; whoever wants them sets TF_CPP_MIN_LOG_LEVEL to less."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
