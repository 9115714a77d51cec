"""Files on other machines: one module a protocol, and one table that names them."""

from mlaas.readers.locations import HTTP_SCHEMES, XROOTD_SCHEMES, scheme
from mlaas.readers.storage.base import Storage, StorageStream
from mlaas.readers.storage.filesystems import FileSystemStorage
from mlaas.readers.storage.http import HttpStorage
from mlaas.readers.storage.xrootd import XRootDStorage

__all__ = ["STORAGES", "Storage", "StorageStream", "open_storage"]

STORAGES: dict[str, type[Storage]] = {
    **dict.fromkeys(XROOTD_SCHEMES, XRootDStorage),
    **dict.fromkeys(HTTP_SCHEMES, HttpStorage),
}


def open_storage(url: str) -> Storage:
    """Open a file on another machine; schemes that are not in ``STORAGES`` are those that fsspec knows.

    Raises:
        OSError: It is not there, or out of reach.
    """
    return STORAGES.get(scheme(url), FileSystemStorage)(url)
