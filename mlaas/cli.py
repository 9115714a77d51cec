"""`mlaas`: options in, one call to the workflow, lines for people out."""

import errno
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from mlaas import __version__
from mlaas.errors import MlaasError

INTERRUPTED = 130
PATH = click.Path(path_type=Path)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlaas")
def cli() -> None:
    """Train models on HEP files and publish them."""


@cli.command()
@click.option(
    "--files",
    required=True,
    help="Files or URLs, comma-separated, or a text file of them, or a folder of mlaas prepare.",
)
@click.option("--labels", help="A label for each file, or a text file of them, or the label's branch.")
@click.option("--model", required=True, type=PATH, help="Python file that defines model(idim).")
@click.option("--params", type=PATH, help="params.json: epochs, batch_size, branch, exclude_branches, ...")
@click.option("--preproc", type=PATH, help="preproc.json or preproc.yaml: new branches and cuts.")
@click.option("--specs", type=PATH, help="Statistics of the first pass: used if the file is there, else written.")
@click.option("--dtype", help="Format of the files; by default their suffix tells.")
@click.option("--fout", type=PATH, help="Where to save: .tar.gz for the bundle, .onnx or .keras for the model alone.")
@click.option("--name", help="Name of the model (default: that of the model file).")
@click.option("--publish", help="Registry (sqlite:///FILE, postgresql://...) or server (http://...) to publish to.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of all that is random."
)
@click.option("--summary", type=PATH, help="Where to write the result as JSON.")
@click.option(
    "--skip-bad-files", is_flag=True, help="Read all files once more, and leave out those that can't be used."
)
def train(**options: Any) -> None:
    """Read, select, assemble, train, export and publish, in one go."""
    from mlaas.workflow import TrainOptions, train_and_publish

    train_and_publish(TrainOptions(**options), click.echo)


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
