"""The certificate that clients know the server by."""

import logging
import os
import ssl
from typing import NoReturn

from tfaas.errors import InvalidRequest
from tfaas.settings import Settings

MISMATCHES = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}

log = logging.getLogger(__name__)


class HostCertificate:
    """A certificate and its key, which are read again after their files have changed.

    Args:
        certificate: PEM file with the certificate, then its chain.
        key: PEM file with its key, without a passphrase; empty where it is in the certificate's file.

    Raises:
        InvalidRequest: a file can't be read or is not what it should be.
    """

    def __init__(self, certificate: str, key: str = "") -> None:
        self._files = certificate, key or certificate
        self._found = self._look()
        self._context = _load(*self._files)

    def context(self) -> ssl.SSLContext:
        """What the next connection is secured with; a renewal that is not whole, or wrong, changes nothing."""
        found = self._look()
        if found != self._found:
            self._found = found
            try:
                self._context = _load(*self._files)
                log.info("TLS certificate %s has changed, and is used from now on", self._files[0])
            except InvalidRequest as error:
                log.warning("the TLS certificate has changed, and the earlier one stays in use: %s", error)
        return self._context

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What changes with the files."""
        found: list[tuple[int, int, int] | None] = []
        for path in self._files:
            try:
                status = os.stat(path)
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                found.append(None)  # to read it tells why
        return found


def host_certificate(settings: Settings) -> HostCertificate | None:
    """The certificate that the settings name, if they do; raises InvalidRequest as the class does."""
    if settings.tls_certificate:
        return HostCertificate(settings.tls_certificate, settings.tls_key)
    if settings.tls_key:
        raise InvalidRequest(f"TLS key {settings.tls_key} has no certificate: expected TFAAS_TLS_CERTIFICATE too")
    return None


def _load(certificate: str, key: str) -> ssl.SSLContext:
    """A context for a server of TLS 1.2 or newer that asks clients for no certificate."""
    for kind, path in (("certificate", certificate), ("key", key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise InvalidRequest(f"TLS {kind} {path} can't be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise InvalidRequest(
            f"TLS certificate {certificate} can't be understood: expected PEM with the certificate of the host,"
            " then its chain"
        ) from error

    def refuse_passphrase() -> NoReturn:
        raise InvalidRequest(f"TLS key {key} has a passphrase: expected a key without one")

    try:
        context.load_cert_chain(certificate, key, refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason is None:
            wrong = f"TLS key {key} can't be understood: expected PEM with the private key of {certificate}"
        elif error.reason in MISMATCHES:
            wrong = f"TLS key {key} does not match: expected the private key of {certificate}"
        else:
            wrong = f"TLS certificate {certificate} is refused by OpenSSL: {error.reason.lower().replace('_', ' ')}"
        raise InvalidRequest(wrong) from error
    return context
