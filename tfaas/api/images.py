"""`POST /image`: predictions for one image."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile

from tfaas.api.body import limited
from tfaas.api.services import Shared
from tfaas.codecs.image import ImageShape, best_labels, decode
from tfaas.errors import InvalidRequest

router = APIRouter(tags=["predictions"])


@router.post("/image")
@router.post("/predict/image")
async def predict_image(request: Request, services: Shared) -> Any:
    """Predict one PNG or JPEG, the file `image` of a form that names the `model`.

    Answers the five best labels, or the bare numbers of a model without labels.
    """
    request = Request(request.scope, limited(request.receive, services.settings.max_body))
    async with request.form() as form:
        name, upload = form.get("model", ""), form.get("image")
        if not isinstance(upload, UploadFile):
            raise InvalidRequest("the form has no file 'image': expected a PNG or JPEG")
        if not isinstance(name, str):
            raise InvalidRequest("the field 'model' is a file: expected the name of a model")
        data, filename = await upload.read(), upload.filename
    model = await services.engine.resolve(name)
    shape = ImageShape.of(model.input, model.manifest.img_channels)
    limit = services.settings.max_image_pixels
    event = await asyncio.to_thread(decode, data, shape, model.manifest.img_resize, limit)
    output = (await model.batcher.predict(event, model.deadline))[0][0]
    services.metrics.events += 1
    if model.labels:
        return {"filename": filename, "labels": best_labels(output, model.labels)}
    return output.tolist()
