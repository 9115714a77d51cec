"""A PNG or JPEG image → the numbers that a model takes: 0 to 255, as they are in the file."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray, TensorSpec

FORMATS = ("PNG", "JPEG")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
BEST_LABELS = 5


@dataclass(frozen=True, slots=True)
class ImageShape:
    """What a model takes: pixels, channels, and which of the two comes first in an event."""

    height: int
    width: int
    channels: int
    channels_first: bool = False

    @classmethod
    def of(cls, spec: TensorSpec, channels: int) -> "ImageShape":
        """The image in an input of shape (n, height, width, channels), or (n, channels, height, width).

        Args:
            channels: what the manifest says; 0 where it says nothing.

        Raises:
            InvalidRequest: the input holds no image.
        """
        sizes = [size or 0 for size in spec.shape[1:]]
        if len(sizes) == 2 and channels in (0, 1):
            return cls(sizes[0], sizes[1], 1)
        if len(sizes) == 3 and sizes[2] in MODES and channels in (0, sizes[2]):
            return cls(sizes[0], sizes[1], sizes[2])
        if len(sizes) == 3 and sizes[0] in MODES and channels in (0, sizes[0]):
            return cls(sizes[1], sizes[2], sizes[0], channels_first=True)
        shape = ", ".join("n" if size is None else str(size) for size in spec.shape)
        said = f" with img_channels {channels}" if channels else ""
        raise InvalidRequest(
            f"the model takes ({shape}){said}, which is no image: expected (n, height, width, 1, 3 or 4)"
        )


def decode(data: bytes, shape: ImageShape, resize: bool, max_pixels: int) -> FloatArray:
    """One event, float32 (1, numbers).

    Args:
        resize: whether an image of another size is scaled to what the model takes.
        max_pixels: an image that says it has more is refused before it is decoded.

    Raises:
        InvalidRequest: no image, too large, or not of the size that the model takes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is the one that counts
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(image, shape, resize, max_pixels)
            image.load()
    except Image.DecompressionBombError as error:
        raise InvalidRequest(f"the image has more than {max_pixels} pixels, which is the limit here") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if not isinstance(error, UnidentifiedImageError) else "neither of the two"
        raise InvalidRequest(f"the image can't be read: {reason}; expected PNG or JPEG") from error
    image = _eight_bit(image).convert(MODES[shape.channels])
    if image.size != (shape.width, shape.height):
        image = image.resize((shape.width, shape.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32).reshape(shape.height, shape.width, shape.channels)
    if shape.channels_first:
        pixels = np.moveaxis(pixels, 2, 0)
    return np.ascontiguousarray(pixels).reshape(1, -1)


def best_labels(output: FloatArray, labels: Sequence[str]) -> list[dict[str, str | float]]:
    """The labels of the largest numbers of an event, largest first."""
    named = min(len(labels), len(output))
    best = np.argsort(-output[:named], kind="stable")[:BEST_LABELS]
    return [{"label": labels[index], "probability": float(output[index])} for index in best.tolist()]


def _check_size(image: Image.Image, shape: ImageShape, resize: bool, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise InvalidRequest(f"the image has {width} x {height} pixels: expected at most {max_pixels} in all")
    if not resize and (width, height) != (shape.width, shape.height):
        raise InvalidRequest(
            f"the image has {width} x {height} pixels: expected {shape.width} x {shape.height},"
            ' or "img_resize": true in params.json'
        )


def _eight_bit(image: Image.Image) -> Image.Image:
    """Sixteen bits a pixel are scaled to eight, where converting would cut them off."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
