"""Files and labels in, mixed, shuffled, split and prefetched chunks out."""

from mlaas.dataset.dataset import Chunk, Dataset, DatasetParams
from mlaas.dataset.split import PARTS, Part

__all__ = ["PARTS", "Chunk", "Dataset", "DatasetParams", "Part"]
