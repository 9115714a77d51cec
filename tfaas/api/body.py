"""Request bodies, read no further than their limit."""

from starlette.types import Message, Receive

from tfaas.errors import TooLarge

DISCARDED_BYTES = 64 * 1024**2


class ClientGone(Exception):
    """The connection closed before the body was complete; there is nobody to answer."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body; raises TooLarge past `limit` bytes and ClientGone."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(parts[-1])
        if size > limit:
            await _discard(receive, more)
            raise TooLarge(_too_large(limit))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def limited(receive: Receive, limit: int) -> Receive:
    """The same messages, until more than `limit` bytes have come: then TooLarge."""
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            await _discard(receive, message.get("more_body", False))
            raise TooLarge(_too_large(limit))
        return message

    return receive_limited


async def _discard(receive: Receive, more: bool) -> None:
    """Read on for a while: a client that is still sending would see a reset connection instead of the answer."""
    size = 0
    while more and size < DISCARDED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)


def _too_large(limit: int) -> str:
    return f"the body has more than {limit} bytes, which is the limit here"
