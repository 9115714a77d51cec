"""One HTTP/1.1 connection over TLS."""

import asyncio
import logging
from typing import Any

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]

from tfaas.api.connection import Connection
from tfaas.security.certificate import HostCertificate

log = logging.getLogger(__name__)


class SecureConnection(Connection):
    """A connection whose requests begin after a handshake, which may take as long as the headers of a request.

    TLS begins here and not in uvicorn, which would give a handshake a minute, would wait at the end for those under
    way, and would keep the certificate that it began with.
    """

    _tcp: asyncio.Transport | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._certificate: HostCertificate = self.app.certificate

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called with the transport of TCP, and after the handshake with that of TLS."""
        if self._tcp is None:
            self._begin_handshake(transport)
        else:
            super().connection_made(transport)
            self.scheme = "https"

    def _begin_handshake(self, tcp: asyncio.Transport) -> None:
        self.transport = self._tcp = tcp
        self.connections.add(self)
        handshake = self.loop.create_future()
        handshake.add_done_callback(self._end_handshake)
        tls = SSLProtocol(
            self.loop,
            self,
            self._certificate.context(),
            handshake,
            server_side=True,
            ssl_handshake_timeout=self._settings.receive_timeout,
        )
        tcp.set_protocol(tls)
        tls.connection_made(tcp)

    def _end_handshake(self, handshake: asyncio.Future[None]) -> None:
        if self.transport is self._tcp:
            log.debug("a client has not completed its TLS handshake: %s", handshake.exception())
            self.connections.discard(self)

    def finish_closing(self) -> None:
        """Close without the client's farewell: one that keeps its connection for later does not see ours."""
        if self._tcp is not None and not self.transport.get_write_buffer_size():
            self._tcp.close()
