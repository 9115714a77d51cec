"""A file that is out of reach at times, or at some of the places where it is."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from mlaas.closing import Closing
from mlaas.errors import DataError
from mlaas.readers.arrays import Strings, Values
from mlaas.readers.base import Branch, Events, Reader
from mlaas.readers.failures import OutOfReach, Unreadable
from mlaas.readers.locations import basename
from mlaas.readers.storage.waiting import FIRST_PAUSE, attempts

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class ReplicaReader(Closing):
    """Reads from the first of several places that works, and goes on at the next one when it fails.

    A place that does not answer is asked again after the others, with longer and longer pauses; one where the
    file is damaged, missing, or other than it was, is not. See :class:`mlaas.readers.base.Reader` for the rest.

    Args:
        path: All places, as they were given.
        places: Each of them.
        connect: Opens the file at a place.

    Raises:
        DataError: The file cannot be used at any place.
    """

    def __init__(self, path: str, places: Sequence[str], connect: Callable[[str], Reader]) -> None:
        self.path = path
        self._places = list(places)
        self._connect = connect
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self.identity = ""
        first = self._wherever_it_works(lambda reader: reader, DataError)
        self.tree = first.tree
        self.entries = first.entries
        self.branches: dict[str, Branch] = first.branches
        self.skipped = first.skipped
        self.texts = first.texts
        self.identity = first.identity

    def read(self, names: Sequence[str], start: int, stop: int) -> Events:
        """See :meth:`mlaas.readers.base.Reader.read`."""
        return self._wherever_it_works(lambda reader: reader.read(names, start, stop), Unreadable)

    def values(self, names: Sequence[str], start: int, stop: int) -> dict[str, Values]:
        """See :meth:`mlaas.readers.base.Reader.values`."""
        return self._wherever_it_works(lambda reader: reader.values(names, start, stop), Unreadable)

    def strings(self, name: str, start: int, stop: int) -> Strings:
        """See :meth:`mlaas.readers.base.Reader.strings`."""
        return self._wherever_it_works(lambda reader: reader.strings(name, start, stop), Unreadable)

    def blocks(self, names: Sequence[str], stop: int, max_bytes: int) -> list[tuple[int, int]]:
        """See :meth:`mlaas.readers.base.Reader.blocks`."""
        return self._wherever_it_works(lambda reader: reader.blocks(names, stop, max_bytes), Unreadable)

    def close(self) -> None:
        """Close the file; the arrays read from it stay valid."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _wherever_it_works(self, action: Callable[[Reader], Result], failure: type[DataError]) -> Result:
        """Result of ``action`` at the first place where it does not end in a ``failure``.

        Raises:
            DataError: It has at all of them.
        """
        errors: dict[str, DataError] = {}
        with self._lock:
            for attempt in range(attempts()):
                for place in [one for one in self._places if isinstance(errors.get(one, OutOfReach("")), OutOfReach)]:
                    try:
                        return action(self._at(place))
                    except failure as error:
                        errors[place] = error
                        self._leave(place, error)
                if not any(isinstance(error, OutOfReach) for error in errors.values()):
                    break
                if attempt + 1 < attempts():
                    time.sleep(FIRST_PAUSE * 2**attempt)
        last = list(errors.values())[-1]
        if len(self._places) == 1:
            raise last
        listed = "; ".join(str(error) for error in errors.values())
        raise type(last)(f"{basename(self.path)}: none of {len(self._places)} replicas can be read: {listed}") from last

    def _at(self, place: str) -> Reader:
        """The reader of the file at ``place``, which is the one in use where that is the first of the places."""
        if self._reader is not None:
            return self._reader
        try:
            reader = self._connect(place)
        except Unreadable:
            raise
        except DataError as error:
            raise Unreadable(str(error)) from error
        if self.identity and reader.identity != self.identity:
            reader.close()
            raise Unreadable(f"{place}: holds other data than before")
        self._reader = reader
        return reader

    def _leave(self, place: str, error: DataError) -> None:
        """Close the file at ``place``, which is tried last from now on."""
        self.close()
        if len(self._places) > 1 or isinstance(error, OutOfReach):
            log.warning("%s", error)
        self._places.remove(place)
        self._places.append(place)
