"""The process that tries an upload: it shuts itself in, and only then imports what reads the upload.

Run as `python -I -m tfaas.sandbox` with a job as JSON on standard input. What is shut out, by Linux itself: all files
but Python's own, the system's libraries, the archive and a working folder (Landlock); the network, other programs,
other processes and their memory (seccomp, a network namespace where it may be had); and more memory, time and disk than
the limits allow. Only the standard library is imported before that.
"""

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
CLONE_NEWNET = 0x40000000
# A quarter of a core where all are busy; with a tenth, an upload takes a quarter of a minute there.
LOWER_PRIORITY = 5
AUTOGROUP = Path("/proc/self/autogroup")
OPEN_FILES = 1024

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_VERSION, LANDLOCK_PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
FIRST_ABI = (1 << 13) - 1
ON_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
READ = EXECUTE | READ_FILE | READ_DIR
BIND_AND_CONNECT, ABSTRACT_SOCKETS_AND_SIGNALS = 0b11, 0b11

# Where Python, its packages and the libraries below them find what they need.
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types")
PROCESS = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm", "/proc/filesystems")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/sys/devices/system", "/sys/fs/cgroup")
WRITABLE_DEVICE = "/dev/null"

# Numbers of system calls: sockets, programs, other processes' memory and files, and ways around this filter.
AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED = {
    "x86_64": (41, 42, 49, 50, 57, 58, 59, 101, 165, 166, 272, 298, 310, 311, 321, 322, 323, 425, 426, 427, 434, 438),
    "aarch64": (198, 200, 201, 203, 221, 117, 40, 39, 97, 241, 270, 271, 280, 281, 282, 425, 426, 427, 434, 438),
}
CLONE, CLONE3 = {"x86_64": 56, "aarch64": 220}, 435
CLONE_THREAD = 0x00010000
SIGNALS = {"x86_64": (62, 200, 424), "aarch64": (129, 130, 424)}
LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, FAIL_EPERM, FAIL_ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


class NotConfined(Exception):
    """Linux here can't shut a process in; the message says what is missing."""


def main() -> None:
    job = json.load(sys.stdin)
    end_with_parent(job["parent"])
    limit(job["memory"], job["seconds"], job["unpacked"])
    work, archive = Path(job["work"]), Path(job["archive"])
    try:
        confine(work, archive)
    except NotConfined as error:
        if job["confined"]:
            (work / "result.json").write_text(json.dumps({"error": f"uploads can't be tried safely here: {error}"}))
            return
    from tfaas.bundles.probe import run

    run(job)


def end_with_parent(parent: int) -> None:
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the server has ended meanwhile")


def limit(memory: int, seconds: float, file_size: int) -> None:
    """Limits that hold whatever the model does."""
    _give_way()
    # What is written besides what is unpacked: the converted model, which may be as large.
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(seconds) * (os.cpu_count() or 1) + 1),
        (resource.RLIMIT_FSIZE, 2 * file_size),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    open_files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))


def _give_way() -> None:
    """Compute after others: this process, and its session, among which Linux may share the cores first."""
    os.nice(LOWER_PRIORITY)
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(LOWER_PRIORITY))


def confine(work: Path, archive: Path) -> None:
    """Shut this process in, for good: it may write below `work` and read `archive` and what Python needs.

    Raises:
        NotConfined: the kernel lacks Landlock or seccomp; what it has is in force.
    """
    if _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise NotConfined("the kernel knows no no_new_privs")
    _libc().unshare(CLONE_NEWNET)  # needs a privilege that few have; seccomp does the same for all
    _forbid_system_calls()
    _forbid_files(work, archive)


def _forbid_files(work: Path, archive: Path) -> None:
    version = _libc().syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION)
    if version < 1:
        raise NotConfined("the kernel has no Landlock (Linux 5.13)")
    handled = FIRST_ABI | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    handled |= IOCTL_DEVICE if version >= 5 else 0
    network = BIND_AND_CONNECT if version >= 4 else 0
    scopes = ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _libc().syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        raise NotConfined("Landlock is switched off")
    for path in _readable(archive):
        _allow(ruleset, path, handled & READ)
    _allow(ruleset, WRITABLE_DEVICE, handled & (READ | WRITE_FILE))
    _allow(ruleset, str(work), handled)
    if _libc().syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0):
        raise NotConfined("Landlock refuses to restrict this process")
    os.close(ruleset)


def _readable(archive: Path) -> Iterable[str]:
    package = Path(__file__).resolve().parent
    python = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    return [*SYSTEM, *PROCESS, *DEVICES, *sorted(python), str(package), str(archive)]


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there can't be read either
    try:
        allowed = access if os.path.isdir(path) else access & ON_A_FILE
        rule = struct.pack("=Qi", allowed, handle)
        _libc().syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_PATH_BENEATH, rule, 0)
    finally:
        os.close(handle)


def _forbid_system_calls() -> None:
    """A filter of system calls: threads may start, processes may not; sockets may not be had."""
    machine = platform.machine()
    if machine not in DENIED:
        raise NotConfined(f"no filter of system calls is known for {machine}")
    program = [
        _step(LOAD, value=4),  # the architecture: calls of another one have other numbers
        _step(JUMP_EQUAL, 1, 0, AUDIT_ARCHITECTURE[machine]),
        _step(RETURN, value=KILL),
        _step(LOAD, value=0),  # the number of the call
        *_refuse((CLONE3,), FAIL_ENOSYS),  # whose flags can't be seen here; libraries fall back to clone
        *_refuse(DENIED[machine], FAIL_EPERM),
        *_refuse_except_to_self(SIGNALS[machine]),
        _step(JUMP_EQUAL, 0, 3, CLONE[machine]),
        _step(LOAD, value=16),  # the first argument: the flags
        _step(JUMP_SET, 1, 0, CLONE_THREAD),
        _step(RETURN, value=FAIL_EPERM),
        _step(RETURN, value=ALLOW),
    ]
    if machine == "x86_64":  # the x32 calls are the same ones behind another number
        program[4:4] = [_step(0x35, 0, 1, 0x40000000), _step(RETURN, value=KILL)]
    code = ctypes.create_string_buffer(b"".join(program))
    pointer = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    if _libc().prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(pointer), 0, 0):
        raise NotConfined("the kernel has no seccomp")


def _refuse(numbers: Iterable[int], answer: int) -> list[bytes]:
    steps = []
    for number in numbers:
        steps += [_step(JUMP_EQUAL, 0, 1, number), _step(RETURN, value=answer)]
    return steps


def _refuse_except_to_self(numbers: Iterable[int]) -> list[bytes]:
    """Signals may go to this process, as abort() needs it, and to no other."""
    steps = []
    for number in numbers:
        steps += [
            _step(JUMP_EQUAL, 0, 4, number),
            _step(LOAD, value=16),
            _step(JUMP_EQUAL, 0, 1, os.getpid()),
            _step(RETURN, value=ALLOW),
            _step(RETURN, value=FAIL_EPERM),
        ]
    return steps


def _step(code: int, if_true: int = 0, if_false: int = 0, value: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    main()
