"""`/models`, `/params` and `/delete`."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from tfaas.api.body import limited, read_body
from tfaas.api.services import Shared
from tfaas.api.uploads import Published
from tfaas.bundles.manifest import Manifest, parse_manifest
from tfaas.bundles.publish import with_manifest
from tfaas.errors import InvalidRequest
from tfaas.registry import Filter, Reference, VersionRecord, check_name, parse_reference
from tfaas.registry.queries import SORTS

router = APIRouter(tags=["models"])


class ModelSummary(BaseModel):
    """The latest version of a model; the camel-case fields are those of the original."""

    name: str
    model: str
    labels: str
    options: list[str] | None
    inputNode: str
    outputNode: str
    description: str
    timestamp: str
    version: int
    owner: str
    framework: str
    framework_version: str
    runtime: str
    reason: str
    features: list[dict[str, Any]]
    signature: dict[str, Any]
    metrics: dict[str, Any]
    digest: str
    size: int
    tags: list[str]

    @classmethod
    def of(cls, record: VersionRecord) -> Self:
        manifest = Manifest.model_validate(record.manifest)
        own: dict[str, Any] = {"lineage": record.lineage, "manifest": record.manifest, "deleted": record.deleted_at}
        own["crashes"] = record.crashes
        return cls(
            **{name: value for name, value in own.items() if name in cls.model_fields},
            name=record.name,
            model=manifest.model,
            labels=manifest.labels,
            options=manifest.options,
            inputNode=manifest.input_node or record.signature["inputs"][0]["name"],
            outputNode=manifest.output_node or record.signature["outputs"][0]["name"],
            description=record.description,
            timestamp=manifest.timestamp or record.created_at.isoformat(),
            version=record.number,
            owner=record.owner,
            framework=record.framework,
            framework_version=record.framework_version,
            runtime=record.runtime,
            reason=record.runtime_reason,
            features=[feature.model_dump() for feature in manifest.features],
            signature=record.signature,
            metrics=record.metrics,
            digest=record.bundle_digest,
            size=record.bundle_size,
            tags=list(record.tags),
        )


class Deleted(BaseModel):
    deleted: str


class Wanted(BaseModel):
    """Which models are listed, and how."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", description="part of the name")
    tag: str = ""
    owner: str = ""
    framework: str = ""
    sort: str = Field("name", description=f"one of {', '.join(SORTS)}; with - before it in falling order")
    limit: int | None = Field(None, ge=1)
    offset: int = Field(0, ge=0)


@router.get("/models")
async def models(services: Shared, wanted: Annotated[Wanted, Query()]) -> list[ModelSummary]:
    """The latest version of every model that is wanted; of all, by name, unless the query says otherwise."""
    records = await services.repository.latest(Filter(**wanted.model_dump()))
    return [ModelSummary.of(record) for record in records]


@router.get("/params/{model}")
async def params(model: str, services: Shared) -> dict[str, Any]:
    """The manifest of a model, of `model:3` or of `model@alias`."""
    record = await services.repository.get(parse_reference(model))
    return {**record.manifest, "name": record.name}


@router.post("/params")
async def set_params(request: Request, services: Shared) -> Published:
    """Change fields of a model's manifest and make it the default model.

    The body is JSON with the model's `name`; fields that it does not give stay as they are. A change makes a new
    version.
    """
    given = _given_fields(await read_body(request.receive, services.settings.max_body))
    record = await services.repository.get(Reference(check_name(given.name)))
    merged = {**record.manifest, **given.model_dump(mode="json", exclude_unset=True)}
    if merged != {**record.manifest, "name": record.name}:
        bundle = await services.artifacts.path(record.bundle_digest)
        with tempfile.TemporaryDirectory(dir=services.scratch, prefix="params-") as folder:
            archive = Path(folder) / "bundle.tar"
            await asyncio.to_thread(with_manifest, bundle, record.name, merged, archive)
            record = await services.publish(archive, follows=record.id)
    await services.repository.set_default_model(record.name)
    services.engine.changed()
    return Published.of(record)


def _given_fields(body: bytes) -> Manifest:
    given = parse_manifest(body)
    if not given.name:
        raise InvalidRequest("the parameters have no 'name': expected the name of a model")
    return given


@router.delete("/delete/{model}")
async def delete(model: str, services: Shared, force: bool = False) -> Deleted:
    """Delete a model with all its versions; 409 while an alias other than `latest` points at one of them."""
    await services.repository.delete(check_name(model), force=force)
    services.engine.changed()
    return Deleted(deleted=model)


@router.delete("/delete")
async def delete_named_in_form(request: Request, services: Shared, force: bool = False) -> Deleted:
    """Remove the model that the form field `model` names."""
    request = Request(request.scope, limited(request.receive, services.settings.max_body))
    async with request.form() as form:
        model = form.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("the form has no field 'model': expected the name of the model to delete")
    return await delete(model, services, force)
