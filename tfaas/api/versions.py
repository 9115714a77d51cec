"""`/models/{name}`: versions, aliases and bundles of one model."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from tfaas.api.models import ModelSummary
from tfaas.api.services import Shared
from tfaas.registry import Reference, check_name
from tfaas.registry.artifacts import stream

router = APIRouter(tags=["models"], prefix="/models/{name}")

Force = Annotated[bool, Query(description="delete although an alias points at it")]


class VersionDetails(ModelSummary):
    """All that the registry knows about a version."""

    lineage: dict[str, Any]
    manifest: dict[str, Any]
    deleted: datetime | None
    crashes: int


class ModelDetails(BaseModel):
    """A model with its aliases and its versions, newest first; those that are deleted can be restored."""

    name: str
    aliases: dict[str, int]
    versions: list[VersionDetails]


class Target(BaseModel):
    """Where an alias points."""

    model_config = ConfigDict(extra="forbid")

    version: int


class Description(BaseModel):
    """What people read about a version; what is not given stays as it is."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = None
    tags: list[str] | None = None


class Done(BaseModel):
    deleted: str | None = None
    restored: str | None = None


@router.get("")
async def model(name: str, services: Shared) -> ModelDetails:
    """Aliases and versions of a model, also those that are deleted and not yet collected as garbage."""
    versions = await services.repository.versions(check_name(name), deleted=True)
    aliases = await services.repository.aliases(name)
    return ModelDetails(name=name, aliases=aliases, versions=[VersionDetails.of(record) for record in versions])


@router.delete("")
async def delete_model(name: str, services: Shared, force: Force = False) -> Done:
    """Delete a model with all its versions; 409 while an alias other than `latest` points at one of them."""
    await services.repository.delete(check_name(name), force=force)
    services.engine.changed()
    return Done(deleted=name)


@router.post("/restore")
async def restore_model(name: str, services: Shared) -> Done:
    """Take back the deletion of all versions."""
    await services.repository.restore(check_name(name))
    services.engine.changed()
    return Done(restored=name)


@router.get("/versions/{number}")
async def version(name: str, number: int, services: Shared) -> VersionDetails:
    """One version."""
    return VersionDetails.of(await services.repository.get(Reference(check_name(name), number=number)))


@router.patch("/versions/{number}")
async def describe_version(name: str, number: int, new: Description, services: Shared) -> VersionDetails:
    """Change the description or the tags; all else of a version never changes."""
    reference = Reference(check_name(name), number=number)
    await services.repository.describe(reference, new.description, new.tags)
    services.engine.changed()
    return VersionDetails.of(await services.repository.get(reference))


@router.delete("/versions/{number}")
async def delete_version(name: str, number: int, services: Shared, force: Force = False) -> Done:
    """Delete a version; 409 while an alias other than `latest` points at it."""
    await services.repository.delete(check_name(name), number, force=force)
    services.engine.changed()
    return Done(deleted=f"{name}:{number}")


@router.post("/versions/{number}/restore")
async def restore_version(name: str, number: int, services: Shared) -> Done:
    """Take back the deletion of a version."""
    await services.repository.restore(check_name(name), number)
    services.engine.changed()
    return Done(restored=f"{name}:{number}")


@router.post("/versions/{number}/release")
async def release_version(name: str, number: int, services: Shared) -> VersionDetails:
    """Serve a version again that is quarantined because it ended the process that served it."""
    record = await services.repository.release(Reference(check_name(name), number=number))
    services.engine.changed()
    return VersionDetails.of(record)


@router.get("/versions/{number}/bundle", response_class=StreamingResponse)
async def bundle(name: str, number: int, services: Shared) -> StreamingResponse:
    """The bundle as it was uploaded, byte for byte; the ETag is its SHA-256."""
    record = await services.repository.get(Reference(check_name(name), number=number))
    blocks = stream(services.repository.database, record.bundle_digest)
    first = await anext(blocks)  # what can't be read is told before the answer has begun
    compressed = first.startswith(b"\x1f\x8b")
    file_name = f"{name}-{number}.tar{'.gz' if compressed else ''}"
    headers = {
        "content-length": str(record.bundle_size),
        "content-disposition": f'attachment; filename="{file_name}"',
        "etag": f'"{record.bundle_digest}"',
    }
    media_type = "application/gzip" if compressed else "application/x-tar"
    return StreamingResponse(_from(first, blocks), headers=headers, media_type=media_type)


async def _from(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for block in others:
        yield block


@router.get("/aliases/{alias}")
async def alias(name: str, alias: str, services: Shared) -> VersionDetails:
    """The version that an alias points at."""
    reference = Reference(check_name(name), alias=check_name(alias, "alias"))
    return VersionDetails.of(await services.repository.get(reference))


@router.put("/aliases/{alias}")
async def set_alias(name: str, alias: str, target: Target, services: Shared) -> VersionDetails:
    """Let an alias point at a version; moving it back is a rollback."""
    record = await services.repository.set_alias(check_name(name), alias, target.version)
    services.engine.changed()
    return VersionDetails.of(record)


@router.delete("/aliases/{alias}")
async def delete_alias(name: str, alias: str, services: Shared) -> Done:
    """Remove an alias; `latest` stays."""
    await services.repository.delete_alias(check_name(name), check_name(alias, "alias"))
    services.engine.changed()
    return Done(deleted=f"{name}@{alias}")
