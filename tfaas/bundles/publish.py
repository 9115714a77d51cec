"""The one way from a bundle to a published version, for the server, both command lines and the pipeline."""

import contextlib
import getpass
import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tfaas.bundles.prove import ProofLimits, prove
from tfaas.bundles.unpack import is_clutter
from tfaas.errors import InvalidBundle
from tfaas.registry import NewVersion, Repository, VersionRecord, check_name


async def publish(
    repository: Repository,
    archive: Path,
    scratch: Path,
    limits: ProofLimits,
    owner: str = "",
    follows: int | None = None,
    becomes_latest: bool = True,
) -> VersionRecord:
    """Prove a bundle and store it as the next version of its model.

    Args:
        archive: a .tar.gz with one top folder named as the model.
        scratch: an existing folder for temporary files; left as it was found.
        follows: id of the version that must still be the latest one.
        becomes_latest: whether `latest` moves to it.

    Raises:
        InvalidBundle: the bundle is refused; nothing has changed.
        Conflict: another version is the latest one by now; nothing has changed.
        RegistryUnavailable: the database can't be reached; nothing has changed.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="proof-") as work:
        proof = await prove(archive, Path(work), limits)
        return await repository.publish(
            NewVersion(
                name=proof.name,
                framework=proof.framework,
                framework_version=proof.framework_version,
                runtime=proof.runtime,
                runtime_reason=proof.reason,
                signature=proof.signature,
                manifest=proof.manifest,
                labels=proof.labels,
                metrics=proof.manifest["metrics"],
                lineage=proof.manifest["lineage"],
                description=proof.manifest["description"],
                tags=proof.manifest["tags"],
                becomes_latest=becomes_latest,
                owner=owner,
                bundle=archive,
                serving=proof.serving,
            ),
            follows,
        )


def current_user() -> str:
    """Who runs this process, the owner of what it publishes."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def pack(name: str, files: Mapping[str, Path | bytes], archive: Path) -> None:
    """Write a bundle: files under a top folder called `name`, by their names in it.

    The archive is compressed when its name ends in .gz. The same files give the same bytes, so that equal uploads have
    equal digests.
    """
    check_name(name)
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(archive.open("wb"))
        if archive.suffix == ".gz":
            packed = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0))
            tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w"))
        else:
            tar = stack.enter_context(tarfile.open(fileobj=raw, mode="w"))
        for member_name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{name}/{member_name}")
            member.mode = 0o644
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.size = content.stat().st_size
                with content.open("rb") as file:
                    tar.addfile(member, file)


def with_manifest(archive: Path, name: str, manifest: Mapping[str, object], target: Path) -> None:
    """Write the bundle in `archive` again with another params.json."""
    data = json.dumps(manifest, indent=1).encode()
    with tarfile.open(archive, "r:*") as old, tarfile.open(target, "w") as new:
        members = [member for member in old if not is_clutter(member.name)]
        top = {Path(member.name).parts[0] for member in members if Path(member.name).parts}
        prefix = f"{name}/" if top == {name} else ""
        for member in members:
            if Path(member.name).as_posix() == f"{prefix}params.json":
                continue
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        member = tarfile.TarInfo(f"{prefix}params.json")
        member.mode, member.size = 0o644, len(data)
        new.addfile(member, io.BytesIO(data))


def check_archive(data: bytes) -> None:
    """Raise InvalidBundle unless the first bytes can begin a tar archive, plain or compressed."""
    compressed = data.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"))
    if not compressed and data[257:262] != b"ustar":
        raise InvalidBundle("the body is no archive: expected a .tar.gz with one folder, or a form with name and model")
