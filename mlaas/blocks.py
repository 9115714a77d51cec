"""How files are cut into the blocks that are read at a time."""

from collections.abc import Sequence

from mlaas.readers.base import Reader

# Events that a block should have, and how many times the bytes that it may take for that: with fewer events
# the time goes into what every branch costs in every block.
LEAST_EVENTS = 4000
MORE_BYTES = 4


def block_ranges(reader: Reader, names: Sequence[str], stop: int, max_bytes: int) -> list[tuple[int, int]]:
    """As :meth:`mlaas.readers.base.Reader.blocks`, with up to ``MORE_BYTES`` times the bytes for very wide events."""
    ranges = reader.blocks(names, stop, max_bytes)
    if len(ranges) < 2:
        return ranges
    events = ranges[0][1] - ranges[0][0]
    if events >= LEAST_EVENTS:
        return ranges
    return reader.blocks(names, stop, max_bytes * min(MORE_BYTES, -(-LEAST_EVENTS // events)))
