"""What goes into the registry and what comes out of it, detached from the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tfaas.registry.tables import Version

MOST_CRASHES = 2


@dataclass(frozen=True, slots=True)
class NewVersion:
    """All that publishing a version needs; the two files become artifacts."""

    name: str
    framework: str
    runtime: str
    signature: dict[str, Any]
    manifest: dict[str, Any]
    bundle: Path
    serving: Path
    framework_version: str = ""
    runtime_reason: str = ""
    labels: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    owner: str = ""
    tags: Sequence[str] = ()
    becomes_latest: bool = True


@dataclass(frozen=True, slots=True)
class Filter:
    """Which models a list has, and in which order; empty fields leave all in.

    Attributes:
        name: part of the model's name.
        sort: one of `SORTS`, with `-` in front for falling order.
    """

    name: str = ""
    tag: str = ""
    owner: str = ""
    framework: str = ""
    sort: str = "name"
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A published version, detached from the database."""

    id: int
    name: str
    number: int
    owner: str
    description: str
    framework: str
    framework_version: str
    runtime: str
    runtime_reason: str
    signature: dict[str, Any]
    manifest: dict[str, Any]
    labels: list[str]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    bundle_digest: str
    bundle_size: int
    serving_digest: str
    serving_size: int
    created_at: datetime
    tags: tuple[str, ...] = ()
    deleted_at: datetime | None = None
    crashes: int = 0
    identical_to: int | None = None
    """Set on what `publish` returns: an earlier version of the model with the same bytes."""

    @property
    def is_quarantined(self) -> bool:
        """Whether it has ended its process so often that it is not served any more."""
        return self.crashes >= MOST_CRASHES


def to_record(version: Version) -> VersionRecord:
    return VersionRecord(
        id=version.id,
        name=version.model.name,
        number=version.number,
        owner=version.owner,
        description=version.description,
        framework=version.framework,
        framework_version=version.framework_version,
        runtime=version.runtime,
        runtime_reason=version.runtime_reason,
        signature=version.signature,
        manifest=version.manifest,
        labels=version.labels,
        metrics=version.metrics,
        lineage=version.lineage,
        bundle_digest=version.bundle_digest,
        bundle_size=version.bundle.size,
        serving_digest=version.serving_digest,
        serving_size=version.serving.size,
        created_at=version.created_at,
        tags=tuple(tag.name for tag in version.tags),
        deleted_at=version.deleted_at,
        crashes=version.crashes,
    )
