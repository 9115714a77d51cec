"""Which status answers which domain error; the body is always `{"error": "..."}`."""

import errno
import logging

import orjson

from tfaas.errors import (
    ArtifactCorrupted,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    MethodNotAllowed,
    ModelFailed,
    NotFound,
    Overloaded,
    Quarantined,
    RegistryUnavailable,
    TFaaSError,
    TooLarge,
)

STATUS: dict[type[TFaaSError], int] = {
    InvalidRequest: 400,
    NotFound: 404,
    Conflict: 409,
    MethodNotAllowed: 405,
    TooLarge: 413,
    Overloaded: 503,
    RegistryUnavailable: 503,
    DeadlineExceeded: 504,
    ArtifactCorrupted: 500,
    ModelFailed: 500,
    Quarantined: 500,
}
RETRY_AFTER = {503: "1"}

log = logging.getLogger(__name__)


def _foreign(error: Exception) -> tuple[int, str]:
    log.error("unexpected error", exc_info=error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return 507, "the disk of the server is full: nothing has changed"
    return 500, "the server failed to answer this request; its log says why"


def error_response(error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for an error; one that nobody foresaw is logged and told without its details."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            status, message = STATUS[kind], str(error)
            break
    else:
        status, message = _foreign(error)
    headers = {"content-type": "application/json"}
    if status in RETRY_AFTER:
        headers["retry-after"] = RETRY_AFTER[status]
    return status, headers, orjson.dumps({"error": message})
