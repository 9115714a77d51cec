"""How long to wait for servers, and how often to ask again."""

import os

# Seconds: an answer to one request, and a connection being made. uproot waits for an XRootD server that hangs
# twice the first of them, for the request and for closing the file.
REQUEST_TIMEOUT = 7
CONNECTION_TIMEOUT = 5
# Rounds over all replicas of a file, and seconds between the first two; doubled each time.
ATTEMPTS = 4
FIRST_PAUSE = 1.0


def request_timeout() -> int:
    """Seconds to wait for an answer; ``XRD_REQUESTTIMEOUT`` in the environment has precedence."""
    return _setting("XRD_REQUESTTIMEOUT", REQUEST_TIMEOUT)


def attempts() -> int:
    """How often to try; ``MLAAS_ATTEMPTS`` in the environment has precedence."""
    return max(1, _setting("MLAAS_ATTEMPTS", ATTEMPTS))


def _setting(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
