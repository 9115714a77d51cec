"""From the name of a model to one that runs."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from mlaas.scoring.errors import ScoringError
from mlaas.scoring.model import Model, Scorer
from mlaas.scoring.server import ServerScorer
from mlaas.scoring.session import SessionScorer
from tfaas.bundles import Manifest, ProofLimits, TFaaSError
from tfaas.bundles.prove import prove
from tfaas.registry import Database, Repository, VersionRecord, parse_reference
from tfaas.registry.artifacts import ArtifactCache

BUNDLE_SUFFIXES = (".tar.gz", ".tgz", ".tar")


def open_scorer(name: str, registry: str | None) -> Scorer:
    """Get a model ready to run.

    Args:
        name: ``net``, ``net:3`` or ``net@alias`` in ``registry``, or the path of a bundle.
        registry: Database (sqlite:///FILE, postgresql://…) or server (http://…); None for a bundle.

    Raises:
        ScoringError: There is no such model, or it can't be run.
    """
    if name.endswith(BUNDLE_SUFFIXES) and (registry is None or Path(name).is_file()):
        return _from_bundle(Path(name))
    if registry is None:
        raise ScoringError(
            f"--model {name}: --registry is missing, expected sqlite:///FILE, postgresql://… or http://…;"
            f" a bundle ends in {', '.join(BUNDLE_SUFFIXES)}"
        )
    if registry.startswith(("http://", "https://")):
        return ServerScorer(registry, name)
    return _from_database(name, registry)


def _from_bundle(path: Path) -> Scorer:
    """A bundle is tried in a child process, as a server would before it publishes it."""
    with tempfile.TemporaryDirectory(prefix="mlaas-score-") as folder, start_blocking_portal() as portal:
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            proof = portal.call(prove, path, Path(folder), ProofLimits())
        except OSError as error:
            raise ScoringError(f"--model {path}: {error.strerror}") from error
        except TFaaSError as error:
            raise ScoringError(f"--model {path}: {error}") from error
        manifest = Manifest.model_validate(proof.manifest)
        return _session(path.name, proof.runtime, digest, manifest, proof.signature, proof.labels, proof.serving)


def _from_database(name: str, registry: str) -> Scorer:
    with tempfile.TemporaryDirectory(prefix="mlaas-score-") as folder, start_blocking_portal() as portal:
        try:
            record, path = portal.call(_fetch, name, registry, Path(folder))
        except TFaaSError as error:
            raise ScoringError(f"{registry}: {error}") from error
        if record.is_quarantined:
            raise ScoringError(f"{name} has ended {record.crashes} processes that ran it: expected another version")
        manifest = Manifest.model_validate(record.manifest)
        return _session(
            f"{record.name}:{record.number}", record.runtime, record.bundle_digest, manifest, record.signature,
            record.labels, path,
        )  # fmt: skip


async def _fetch(name: str, registry: str, folder: Path) -> tuple[VersionRecord, Path]:
    """A version, and the file that serves it."""
    reference = parse_reference(name)
    database = Database(registry)
    try:
        if database.file is not None and not database.file.is_file():
            raise ScoringError(f"{registry}: there is no file {database.file}")
        record = await Repository(database).get(reference)
        return record, await ArtifactCache(folder, database).path(record.serving_digest)
    finally:
        await database.close()


def _session(
    reference: str,
    runtime: str,
    digest: str,
    manifest: Manifest,
    signature: Mapping[str, Any],
    labels: list[str],
    path: Path,
) -> Scorer:
    if runtime != "onnx":
        raise ScoringError(
            f"{reference} is run by {runtime}: expected ONNX; score it through a server, --registry http://…"
        )
    return SessionScorer(Model.describe(reference, digest, manifest, signature, labels), path, signature)
