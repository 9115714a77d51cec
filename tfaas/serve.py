"""From settings to running server processes."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from functools import partial

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from tfaas.api.connection import Application, Connection
from tfaas.api.secure_connection import SecureConnection
from tfaas.commands import upgrade_registry
from tfaas.errors import InvalidRequest
from tfaas.observability.logs import configure_logs
from tfaas.registry import Database, Repository
from tfaas.security.certificate import HostCertificate, host_certificate
from tfaas.settings import Settings
from tfaas.supervisor import go_on_in_a_child


def serve(settings: Settings) -> None:
    """Serve until a signal says to stop.

    Raises:
        TFaaSError: something about the address, the certificate or the registry that the user can mend.
        KeyboardInterrupt: it was stopped by SIGINT.
    """
    configure_logs(settings.log_level)
    certificate = host_certificate(settings)
    listener = _listen(settings)
    if settings.workers == 1:
        go_on_in_a_child(listener)  # where there are more of them, uvicorn looks after its workers
    asyncio.run(_prepare(settings))
    os.environ.update(settings.environment())
    config = uvicorn.Config(
        _factory(settings, certificate),
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=Connection if certificate is None else SecureConnection,
        ws="none",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    # uvicorn drains and then raises the signal again. Having drained is success, and a model that is still running
    # must not keep the process.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if settings.workers > 1:
        Workers(config, sockets=[listener]).run()
        return
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if not server.started:
        raise RuntimeError("the server did not start; its log says why")


def _factory(settings: Settings, certificate: HostCertificate | None) -> str | Callable[[], Application]:
    """What makes the application: workers, which are new programs, read the certificate themselves.

    A single server has it from its parent, also when it is started again while the files are being renewed.
    """
    if settings.workers > 1:
        return "tfaas.app:create_app_from_environment"
    from tfaas.app import create_app_from_environment

    return partial(create_app_from_environment, certificate)


class Workers(Multiprocess):
    """uvicorn's workers, which end as a single server does."""

    _interrupted = False

    def handle_int(self) -> None:
        self._interrupted = True
        super().handle_int()

    def run(self) -> None:
        super().run()
        if self._interrupted:
            raise KeyboardInterrupt
        if any(worker.exitcode == STARTUP_FAILURE for worker in self.processes):
            raise RuntimeError("a worker did not start; its log says why")


async def _prepare(settings: Settings) -> None:
    """All that can be wrong with the registry is told before a server has started."""
    await upgrade_registry(settings)
    try:
        tempfile.TemporaryFile(dir=settings.data_dir).close()
    except OSError as error:
        raise InvalidRequest(f"data folder {settings.data_dir} can't be written to: {error.strerror}") from error
    database = Database(settings.database_url)
    try:
        for reference in settings.preloaded:
            await Repository(database).get(reference)
    finally:
        await database.close()


def _listen(settings: Settings) -> socket.socket:
    """A bound socket, so that a port in use is told before anything has started."""
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=2048,
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InvalidRequest(f"can't listen on {settings.host}:{settings.port}: {reason}") from error
