"""The command `mlaas`, which can be interrupted while it is being loaded."""

import sys


def main() -> None:
    """Load and run the command line."""
    try:
        from mlaas.cli import main as run
    except KeyboardInterrupt:
        print("mlaas: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
