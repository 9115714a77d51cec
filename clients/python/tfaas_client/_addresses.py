"""Where the servers are, and how a client presents itself to them."""

import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import httpx

from ._exceptions import InputError, TransportError

FilePath = str | PathLike[str]

RETRIES = 4


@dataclass(frozen=True)
class Connection:
    """Everything that a client is made of; can be pickled.

    Attributes:
        url: bases of servers that answer alike, in the order in which they are tried.
        timeout: seconds for a request with all its repetitions; None waits 30, and 600 for an upload.
        token: bearer token to present.
        cert: client certificate in PEM, or a pair of certificate and key.
        verify: False trusts any server; a path trusts only the authorities of that file or folder.
        retries: how often all servers are asked again.
    """

    url: tuple[str, ...]
    timeout: float | None
    token: str | None
    cert: FilePath | tuple[FilePath, FilePath] | None
    verify: bool | FilePath
    retries: int

    def __post_init__(self) -> None:
        """Raises InputError: there is no URL, or a number is out of range; TransportError: a URL is none."""
        if not self.url:
            raise InputError("no URL is given: expected that of a server, such as http://localhost:8083")
        for text in self.url:
            _check_url(text)
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"timeout is {self.timeout}: expected a positive number of seconds")
        token = self.token
        if token is not None and not (token.isascii() and token.isprintable() and token.split() == [token]):
            raise InputError("the token holds spaces, line ends or letters that are not ASCII: expected none of them")
        if self.retries < 0:
            raise InputError(f"retries is {self.retries}: expected 0 or more")

    def tls_context(self) -> ssl.SSLContext:
        """Loads the certificates; raises InputError where they cannot be."""
        try:
            context = httpx.create_ssl_context(verify=self.verify is not False)
            if not isinstance(self.verify, bool):
                folder = Path(self.verify).is_dir()
                cafile, capath = (None, self.verify) if folder else (self.verify, None)
                context = ssl.create_default_context(cafile=cafile, capath=capath)
            if self.cert is not None:
                context.load_cert_chain(*self.cert if isinstance(self.cert, tuple) else (self.cert,))
        except OSError as error:
            given = [str(value) for value in (self.cert, self.verify) if value and value is not True]
            named = " or ".join(given) or "that SSL_CERT_FILE or SSL_CERT_DIR names"
            raise InputError(f"the certificates {named} cannot be loaded: {error}") from error
        return context


class Connected(ABC):
    """What both clients are made of; their arguments are documented at `Client`."""

    def __init__(
        self,
        url: str | Sequence[str],
        timeout: float | None = None,
        token: str | None = None,
        cert: FilePath | tuple[FilePath, FilePath] | None = None,
        verify: bool | FilePath = True,
        *,
        retries: int = RETRIES,
    ) -> None:
        urls = tuple(text.rstrip("/") for text in ([url] if isinstance(url, str) else url))
        self._begin(Connection(urls, timeout, token, cert, verify, retries))

    @abstractmethod
    def _begin(self, connection: Connection) -> None: ...


def _check_url(text: str) -> None:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise TransportError(f"{text}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise TransportError(f"{text} is no URL of a server: expected one such as http://localhost:8083")
