"""Names of models, and references such as `model`, `model:3` and `model@production`."""

import re
from dataclasses import dataclass

from tfaas.errors import InvalidRequest

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Reference:
    """One version of a model, by number or by alias."""

    name: str
    number: int | None = None
    alias: str = LATEST

    def __str__(self) -> str:
        if self.number is not None:
            return f"{self.name}:{self.number}"
        return self.name if self.alias == LATEST else f"{self.name}@{self.alias}"


def check_name(name: str, what: str = "model") -> str:
    """The name itself; raises InvalidRequest when it can't be one."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            f"{what} name {name[:140]!r} is not allowed: expected 1 to 128 letters, digits, '_', '.' or '-',"
            " beginning with a letter or a digit"
        )
    return name


def parse_reference(text: str) -> Reference:
    """`model`, `model:3` or `model@alias`; raises InvalidRequest for anything else."""
    name, colon, number = text.partition(":")
    if colon:
        if not number.isascii() or not number.isdigit() or len(number) > 9 or int(number) == 0:
            raise InvalidRequest(f"version {number[:140]!r} in {text[:300]!r} is not a number: expected NAME:3")
        return Reference(check_name(name), number=int(number))
    name, at, alias = text.partition("@")
    return Reference(check_name(name), alias=check_name(alias, "alias") if at else LATEST)
