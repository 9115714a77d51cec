"""`POST /upload`: a form with files, or an archive as the body."""

import asyncio
import base64
import binascii
import json
import mimetypes
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile

from tfaas.api.body import limited
from tfaas.api.services import Shared
from tfaas.bundles.manifest import parse_manifest
from tfaas.bundles.publish import check_archive, pack
from tfaas.errors import InvalidBundle
from tfaas.registry import VersionRecord, check_name

ARCHIVE_HEAD = 512

router = APIRouter(tags=["models"])


class Published(BaseModel):
    """The version that an upload has become."""

    model: str
    version: int
    digest: str
    framework: str
    runtime: str
    reason: str
    identical_to: int | None

    @classmethod
    def of(cls, record: VersionRecord) -> "Published":
        return cls(
            model=record.name,
            version=record.number,
            digest=record.bundle_digest,
            framework=record.framework,
            runtime=record.runtime,
            reason=record.runtime_reason,
            identical_to=record.identical_to,
        )


@router.post("/upload")
@router.post("/bundle")
async def upload(request: Request, services: Shared, latest: bool = True) -> Published:
    """Publish a model as the next version of its name; with `?latest=false`, `latest` stays where it is.

    Either a form with `name`, `model` (file) and optionally `params` (file) and `labels` (file), or a .tar.gz as the
    body with one folder named as the model.
    """
    request = Request(request.scope, limited(request.receive, services.settings.max_upload))
    with tempfile.TemporaryDirectory(dir=services.scratch, prefix="upload-") as folder:
        archive = Path(folder) / "bundle.tar"
        if "form-data" in request.headers.get("content-type", "").lower():
            async with request.form() as form:
                encoded = request.headers.get("content-encoding", "").lower() == "base64"
                await _pack_form(form, Path(folder), archive, encoded)
        else:
            await _save_body(request, archive)
        return Published.of(await services.publish(archive, becomes_latest=latest))


async def _save_body(request: Request, archive: Path) -> None:
    with archive.open("wb") as file:
        async for block in request.stream():
            await asyncio.to_thread(file.write, block)
    with archive.open("rb") as file:
        check_archive(file.read(ARCHIVE_HEAD))


async def _pack_form(form: FormData, folder: Path, archive: Path, encoded: bool) -> None:
    """Make the bundle that the form stands for."""
    name = form.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidBundle("the form has no field 'name': expected the model's name")
    check_name(name)
    model = form.get("model")
    if not isinstance(model, UploadFile):
        raise InvalidBundle("the form has no file 'model': expected the model as a file")
    fields = await _params(form, encoded)
    if fields.setdefault("name", name) != name:
        raise InvalidBundle(f"the form's name is {name!r} but params.json says {fields['name']!r}: expected one name")
    # The files get the names that params.json knows them by.
    model_name = _base_name(fields.get("model")) or _base_name(model.filename)
    if not model_name:
        raise InvalidBundle("the model has no file name: expected one that ends in .onnx, .keras or .pb")
    fields["model"] = model_name
    await _save_file(model, folder / "model", encoded and _is_encoded(model))
    files: dict[str, Path | bytes] = {model_name: folder / "model"}
    labels = form.get("labels")
    if isinstance(labels, UploadFile) and labels.filename:
        labels_name = _base_name(fields.get("labels")) or _base_name(labels.filename)
        if labels_name in (model_name, "params.json"):
            raise InvalidBundle(f"the labels are in a file {labels_name!r}: expected a name that no other file has")
        fields["labels"] = labels_name
        await _save_file(labels, folder / "labels", encoded and _is_encoded(labels))
        files[labels_name] = folder / "labels"
    files["params.json"] = json.dumps(fields).encode()
    await asyncio.to_thread(pack, name, files, archive)


async def _params(form: FormData, encoded: bool) -> dict[str, object]:
    params = form.get("params")
    if params is None:
        return {}
    data: bytes | str = await params.read() if isinstance(params, UploadFile) else params
    if isinstance(params, UploadFile) and encoded and _is_encoded(params):
        data = _decoded(data, "params")
    parse_manifest(data)
    fields: dict[str, object] = json.loads(data)
    return {key: value for key, value in fields.items() if value not in (None, "")}


def _base_name(path: object) -> str:
    return PurePosixPath(str(path)).name if path else ""


def _is_encoded(upload: UploadFile) -> bool:
    """The original's client sends those files as base64 whose names don't tell what they are."""
    return mimetypes.guess_type(upload.filename or "")[0] in (None, "application/octet-stream")


def _decoded(data: bytes | str, name: str) -> bytes:
    try:
        return base64.b64decode(b"".join(data.split()) if isinstance(data, bytes) else data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidBundle(
            f"the file {name!r} is not base64 ({error}), which the header Content-Encoding: base64 says it is"
        ) from error


async def _save_file(upload: UploadFile, path: Path, encoded: bool) -> None:
    def copy() -> None:
        with path.open("wb") as file:
            if encoded:
                file.write(_decoded(upload.file.read(), path.name))
            else:
                shutil.copyfileobj(upload.file, file)

    await asyncio.to_thread(copy)
