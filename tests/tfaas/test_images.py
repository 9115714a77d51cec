"""Predictions for images."""

import io
import json
import struct
import zlib

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tests.networks import linear_onnx, model_bytes
from tests.servers import Server

LABELS = [f"digit {index}" for index in range(12)]


def upload(server: Server, name: str, shape: list[int], labels: bool, **params: object) -> None:
    """A model that answers the first twelve numbers of an image."""
    graph = model_bytes(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Slice", ["flat", "start", "stop", "axis"], ["scores"]),
        ],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 12])],
        start=np.array([0]),
        stop=np.array([12]),
        axis=np.array([1]),
    )
    files = {"model": ("m.onnx", graph), "params": ("p.json", json.dumps(params))}
    if labels:
        files["labels"] = ("labels.txt", "\n".join(LABELS))
    httpx.post(f"{server.url}/upload", data={"name": name}, files=files, timeout=60).raise_for_status()


def ask(server: Server, model: str, data: bytes, name: str = "four.png", path: str = "/image") -> httpx.Response:
    return httpx.post(f"{server.url}{path}", data={"model": model}, files={"image": (name, data)}, timeout=60)


def encoded(pixels: "np.ndarray", kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind)
    return target.getvalue()


GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
COLOUR = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)


def test_the_five_best_labels_or_the_bare_numbers(server: Server) -> None:
    upload(server, "digits", [6, 8, 1], labels=True, img_channels=1)
    answer = ask(server, "digits", encoded(GREY))
    assert answer.json() == {
        "filename": "four.png",
        "labels": [{"label": f"digit {index}", "probability": float(index)} for index in (11, 10, 9, 8, 7)],
    }
    upload(server, "numbers", [6, 8, 1], labels=False)
    assert ask(server, "numbers", encoded(GREY), path="/predict/image").json() == list(range(12))


def test_channels_and_their_place(server: Server) -> None:
    upload(server, "last", [6, 8, 3], labels=False, img_channels=3)
    upload(server, "first", [3, 6, 8], labels=False)
    assert ask(server, "last", encoded(COLOUR)).json() == list(range(12))
    assert ask(server, "first", encoded(COLOUR)).json() == list(range(0, 36, 3))
    assert ask(server, "last", encoded(GREY)).json() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    flat = np.full((6, 8, 3), 200, np.uint8)
    assert ask(server, "last", encoded(flat, "JPEG"), "a.jpg").json() == [200] * 12
    deep = np.full((6, 8), 200 << 8, np.uint16)
    upload(server, "deep", [6, 8, 1], labels=False)
    assert ask(server, "deep", encoded(deep)).json() == [200] * 12


def test_an_image_of_another_size_is_scaled_only_where_the_manifest_says_so(server: Server) -> None:
    upload(server, "strict", [6, 8, 1], labels=False)
    upload(server, "scaling", [6, 8, 1], labels=False, img_resize=True)
    large = np.full((60, 80), 33, np.uint8)
    answer = ask(server, "strict", encoded(large))
    assert answer.status_code == 400
    assert "the image has 80 x 60 pixels: expected 8 x 6" in answer.json()["error"]
    assert ask(server, "scaling", encoded(large)).json() == [33] * 12


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 10 gigapixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the image can't be read"),
        (b"GIF89a" + b"\0" * 100, "expected PNG or JPEG"),
        (encoded(GREY)[:50], "the image can't be read"),
        (encoded(COLOUR, "GIF"), "expected PNG or JPEG"),
        (bomb(), "pixels"),
    ],
)
def test_what_is_no_image_is_told(server: Server, data: bytes, reason: str) -> None:
    upload(server, "any", [6, 8, 1], labels=False, img_resize=True)
    answer = ask(server, "any", data)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def test_models_and_forms_that_don_t_fit_are_told(server: Server) -> None:
    httpx.post(
        f"{server.url}/upload", data={"name": "vector"}, files={"model": ("m.onnx", linear_onnx([1.0]))}, timeout=60
    ).raise_for_status()
    assert "which is no image" in ask(server, "vector", encoded(GREY)).json()["error"]
    assert ask(server, "no-such-model", encoded(GREY)).status_code == 404
    answer = httpx.post(f"{server.url}/image", data={"model": "vector"})
    assert answer.status_code == 400
    assert "no file 'image'" in answer.json()["error"]
