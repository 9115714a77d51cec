"""Try an upload in a child process, out of the server's way and out of its reach."""

import asyncio
import errno
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfaas.errors import InvalidBundle

STDERR_KEPT = 2000


@dataclass(frozen=True)
class ProofLimits:
    """What one upload may use while it is proven: bytes, members, seconds."""

    unpacked: int = 4 * 1024**3
    members: int = 10_000
    memory: int = 16 * 1024**3
    seconds: float = 300.0
    confined: bool = False
    """Whether an upload is refused where the kernel can't shut the process in that tries it."""


@dataclass(frozen=True)
class Proof:
    """What the child found out about a bundle; `serving` is the file that its runtime loads."""

    name: str
    framework: str
    framework_version: str
    runtime: str
    reason: str
    serving: Path
    signature: dict[str, Any]
    manifest: dict[str, Any]
    labels: list[str]


async def prove(archive: Path, work: Path, limits: ProofLimits) -> Proof:
    """Unpack, convert, load and try the bundle in `archive`, leaving files in the empty folder `work`.

    Raises:
        InvalidBundle: the bundle is refused, or the child crashed or ran out of time; the message says why.
    """
    job = {"archive": str(archive.resolve()), "work": str(work.resolve()), "parent": os.getpid()} | {
        "unpacked": limits.unpacked,
        "members": limits.members,
        "memory": limits.memory,
        "seconds": limits.seconds,
        "confined": limits.confined,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "tfaas.sandbox"),
        cwd=work,
        env=_environment(work),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.seconds):
            _, stderr = await process.communicate(json.dumps(job).encode())
    except TimeoutError as error:
        raise InvalidBundle(f"the model was not ready after {limits.seconds:g} s of unpacking and trying it") from error
    finally:
        await _kill(process)
    return _read_result(work / "result.json", process.returncode, stderr)


def _environment(work: Path) -> dict[str, str]:
    """No secrets of the server, no accelerator, no chatter."""
    passed = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH", "LANG") if key in os.environ}
    return passed | {
        "HOME": str(work),
        "TMPDIR": str(work),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the child and whatever it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    await process.wait()


def _read_result(path: Path, returncode: int | None, stderr: bytes) -> Proof:
    try:
        result = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        lines = [line for line in stderr[-STDERR_KEPT:].decode(errors="replace").splitlines() if line.strip()]
        how = f"signal {signal.Signals(-returncode).name}" if returncode and returncode < 0 else f"exit {returncode}"
        detail = f": {lines[-1].strip()}" if lines else ""
        if os.strerror(errno.ENOSPC) in detail:
            raise OSError(errno.ENOSPC, "while an upload was tried") from error
        raise InvalidBundle(f"the process that tried the model ended with {how}{detail}") from error
    if "error" in result:
        raise InvalidBundle(result["error"])
    return Proof(**(result | {"serving": Path(result["serving"])}))
