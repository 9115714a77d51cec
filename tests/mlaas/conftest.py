"""Files with known events, and a real XRootD daemon."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class XRootD:
    """A running XRootD daemon.

    Attributes:
        root: Folder that it serves.
        port: Where it listens on 127.0.0.1.
    """

    def __init__(self, root: Path, folder: Path, directives: str = "") -> None:
        self.root = root
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = folder / "xrootd.cfg"
        config.write_text(
            f"xrd.port {self.port}\nxrd.network nodnr\noss.localroot {root}\nall.export / r/o\n"
            f"all.adminpath {folder}\nall.pidpath {folder}\nxrootd.async off\n{directives}\n"
        )
        self._command = ["xrootd", "-c", str(config), "-n", "test", "-l", str(folder / "log")]
        if os.geteuid() == 0:
            # The daemon refuses to run as root.
            user = pwd.getpwnam("daemon")
            shutil.chown(folder, user.pw_uid, user.pw_gid)
            self._command += ["-R", "daemon"]
        self._start()

    def url(self, path: str | Path) -> str:
        """URL of a file below ``root``, given by its path there or on this machine."""
        path = Path(path)
        relative = path.relative_to(self.root) if path.is_absolute() else path
        return f"root://127.0.0.1:{self.port}//{relative}"

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the daemon at once."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """End the daemon at once, and start it again."""
        self.kill()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd=self._folder)
        self._wait(self._folder)

    def _wait(self, folder: Path) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        log = "\n".join(path.read_text(errors="replace") for path in folder.rglob("log*") if path.is_file())
        raise RuntimeError(f"xrootd has not started:\n{log}")


def _started(root: Path, work: Path, directives: str) -> XRootD:
    """A daemon on a free port, which another process may take before it does."""
    for _ in range(2):
        with contextlib.suppress(RuntimeError):
            return XRootD(root, work, directives)
    return XRootD(root, work, directives)


@contextlib.contextmanager
def run_xrootd(directives: str = "") -> Iterator[XRootD]:
    """A daemon of its own, whose ``root`` is an empty folder; ``directives`` are added to its configuration."""
    if shutil.which("xrootd") is None and "CI" not in os.environ:
        pytest.skip("the XRootD daemon is not installed: apt-get install xrootd-server")
    # Not in pytest's folders, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="xrootd-") as folder:
        Path(folder).chmod(0o755)
        (root := Path(folder, "data")).mkdir()
        (work := Path(folder, "work")).mkdir()
        daemon = _started(root, work, directives)
        try:
            yield daemon
        finally:
            daemon.kill()


@pytest.fixture(scope="session")
def xrootd() -> Iterator[XRootD]:
    """A daemon for all tests that do not harm it; put files below ``xrootd.root``."""
    with run_xrootd() as daemon:
        yield daemon


@pytest.fixture
def mortal_xrootd() -> Iterator[XRootD]:
    """A daemon for one test, which may kill it."""
    with run_xrootd() as daemon:
        yield daemon
