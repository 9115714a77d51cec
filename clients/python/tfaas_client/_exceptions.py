"""What can go wrong.

TFaaSError
├── InputError              the arguments cannot be sent; nothing was
├── TransportError          there was no answer
│   ├── ConnectionError     also a builtin ConnectionError
│   └── TimeoutError        also a builtin TimeoutError
├── MalformedResponseError  the answer is not what a TFaaS server sends
└── ResponseError           the server refused: `status` and `message`
    ├── ClientError         4xx: the request can be mended
    └── ServerError         5xx: it cannot
        └── OverloadedError 503: worth repeating after `retry_after` seconds
"""

import builtins


class TFaaSError(Exception):
    """Anything that this package raises on purpose."""


class InputError(TFaaSError):
    """The arguments cannot be sent."""


class TransportError(TFaaSError):
    """The server gave no answer."""


class ConnectionError(TransportError, builtins.ConnectionError):
    """The server cannot be reached."""


class TimeoutError(TransportError, builtins.TimeoutError):
    """The server did not answer in time."""


class MalformedResponseError(TFaaSError):
    """The answer is not what a TFaaS server sends."""


class ResponseError(TFaaSError):
    """The server refused the request.

    Attributes:
        status: HTTP status code.
        message: what the server said was wrong.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ClientError(ResponseError):
    """The request can be mended."""


class ServerError(ResponseError):
    """The server failed."""


class OverloadedError(ServerError):
    """The server has too much to do.

    Attributes:
        retry_after: seconds that the server asks to wait, None when it named none.
    """

    def __init__(self, status: int, message: str, retry_after: float | None) -> None:
        super().__init__(status, message)
        self.retry_after = retry_after
