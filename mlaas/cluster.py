"""Work that is spread over the processes of a Dask cluster."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from mlaas.errors import ParameterError

Task = TypeVar("Task")
Result = TypeVar("Result")
# Tasks that a worker has at most, done, running or waiting, so that the results fit into memory.
TASKS_PER_WORKER = 3
# Seconds to wait for the scheduler, and for its first worker.
CONNECTION_TIMEOUT = 20


class Cluster(Protocol):
    """Processes that take tasks."""

    @property
    def workers(self) -> int:
        """Tasks that run at the same time."""
        ...

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Results in the order of ``tasks``; a task whose worker dies is done by another.

        Raises:
            What the function raised, or ParameterError where one task has killed several workers.
        """
        ...


class DaskCluster:
    """A cluster through its Dask client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def workers(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        from distributed.scheduler import KilledWorker

        waiting = iter(tasks)
        running: deque[Any] = deque()
        try:
            while True:
                # Workers may have died since the last look, so that more is running than there is room for.
                room = max(0, max(1, TASKS_PER_WORKER * len(self._client.nthreads())) - len(running))
                # pure=False: two equal tasks are two tasks.
                running.extend(
                    self._client.submit(function, one, pure=False) for one in itertools.islice(waiting, room)
                )
                if not running:
                    return
                yield running[0].result()
                running.popleft().release()
        except KilledWorker as error:
            raise ParameterError(
                f"--dask: several workers died on one task, perhaps for lack of memory: {error}"
            ) from error
        finally:
            for future in running:
                future.cancel()


@contextmanager
def open_cluster(address: str | None, processes: int | None) -> Iterator[Cluster | None]:
    """The cluster whose scheduler is at ``address``, or one of so many ``processes`` on this machine; else None.

    Raises:
        ParameterError: Dask is not installed, or there is no scheduler or worker.
    """
    if address is None and processes is None:
        yield None
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ParameterError("--dask and --processes need Dask: pip install 'hep-mlaas[dask]'") from error
    if address is None:
        with (
            LocalCluster(n_workers=processes, threads_per_worker=1, dashboard_address=":0") as local,
            Client(local) as client,
        ):
            yield DaskCluster(client)
        return
    try:
        client = Client(address, timeout=CONNECTION_TIMEOUT)
        client.wait_for_workers(1, timeout=CONNECTION_TIMEOUT)
    except (OSError, ValueError, TimeoutError) as error:
        raise ParameterError(f"--dask {address}: no scheduler with a worker answers: {error}") from error
    with client:
        yield DaskCluster(client)
