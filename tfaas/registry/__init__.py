"""The SQL registry that the server and the training pipeline share."""

from tfaas.registry.database import Database
from tfaas.registry.names import LATEST, Reference, check_name, parse_reference
from tfaas.registry.records import Filter, NewVersion, VersionRecord
from tfaas.registry.repository import Repository

__all__ = [
    "LATEST",
    "Database",
    "Filter",
    "NewVersion",
    "Reference",
    "Repository",
    "VersionRecord",
    "check_name",
    "parse_reference",
]
