"""Files and labels in, mixed, shuffled, split and prefetched chunks out."""

from mlaas.dataset.base import EventData
from mlaas.dataset.chunks import Chunk
from mlaas.dataset.dataset import Dataset
from mlaas.dataset.manifest import is_prepared
from mlaas.dataset.params import DatasetParams
from mlaas.dataset.preparation import prepare
from mlaas.dataset.prepared import PreparedDataset
from mlaas.dataset.split import PARTS, Part

__all__ = [
    "PARTS",
    "Chunk",
    "Dataset",
    "DatasetParams",
    "EventData",
    "Part",
    "PreparedDataset",
    "is_prepared",
    "prepare",
]
