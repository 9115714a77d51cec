"""Where the `tfaas-client` command begins: an interrupt is silent even while the package is being imported."""

INTERRUPTED = 130


def main() -> int:
    """Runs the command line and returns its exit code."""
    try:
        from tfaas_client.cli import main as run

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
