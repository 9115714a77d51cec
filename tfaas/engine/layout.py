"""From the names and values of one event to the vector that the model takes."""

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tfaas.bundles.manifest import Feature, Manifest
from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray, Signature

Value = float | None | Sequence[float | None]
REMEMBERED_ORDERS = 256
COMPARED_NAMES, SHOWN_NAMES, SHOWN_LETTERS = 300, 50, 80
EXACT_INTEGERS = 2**24


class InputLayout:
    """Where the features of a model stand in its input; knows nothing but counts when it declares none."""

    def __init__(self, manifest: Manifest, signature: Signature) -> None:
        self.width = signature.width
        self.features = manifest.features
        self._required = _required_columns(manifest, signature.width)
        self._integers = _integer_columns(signature)
        self._has_jagged = any(feature.kind == "jagged" for feature in self.features)
        starts = np.cumsum([0, *(feature.dim for feature in self.features)]).tolist()
        self._places = {feature.name: (start, feature) for feature, start in zip(self.features, starts, strict=False)}
        self._orders: dict[tuple[str, ...], list[int]] = {}

    def vector(self, keys: Sequence[str], values: Sequence[Value] | FloatArray) -> FloatArray:
        """One event as float32 of shape (width,).

        Args:
            keys: feature names in any order; empty when the values are positional. A jagged feature is named once for
                each of its objects, or once with a list.
            values: a number, `None` or NaN (missing) for each key.

        Raises:
            InvalidRequest: names or numbers don't fit the model; the message lists what it expects.
        """
        if keys and len(keys) != len(values):
            raise InvalidRequest(f"{len(keys)} keys but {len(values)} values: expected a value for each key")
        if not self.features or not keys:
            vector = self._positional(values)
        elif self._has_jagged:
            vector = self._collect(keys, values)
        else:
            vector = self._flat(values)[self._order(tuple(keys))]
        self._check_numbers(vector)
        return vector

    def _check_numbers(self, vector: FloatArray) -> None:
        if self._required is not None and not np.isfinite(vector[self._required]).all():
            column = int(np.flatnonzero(~np.isfinite(vector) & self._required)[0])
            raise InvalidRequest(
                f"value {self._column(column)} is missing or no finite float32: expected a number,"
                " the model has no rule for missing values"
            )
        for columns, lowest, highest in self._integers:
            numbers = vector[columns]
            wrong = ~((numbers >= lowest) & (numbers <= highest) & (numbers == np.rint(numbers)))
            if wrong.any():
                column = columns.start + int(np.flatnonzero(wrong)[0])
                given = f"value {self._column(column)} is {vector[column]:g}"
                raise InvalidRequest(f"{given}: expected an integer from {lowest} to {highest}")

    def _column(self, column: int) -> str:
        """A column by the name of its feature, or by its position."""
        start = 0
        for feature in self.features:
            start += feature.dim
            if column < start:
                return repr(feature.name)
        return str(column)

    def _positional(self, values: Sequence[Value] | FloatArray) -> FloatArray:
        nested = not isinstance(values, np.ndarray) and any(isinstance(value, Sequence) for value in values)
        if nested and self.features:
            if len(values) != len(self.features):
                raise InvalidRequest(f"{len(values)} values: expected {len(self.features)}, {self._expected()}")
            return self._collect([feature.name for feature in self.features], values)
        if len(values) != self.width:
            raise InvalidRequest(f"{len(values)} values: expected {self.width}{self._expected(', ')}")
        return self._flat(values)

    def _flat(self, values: Sequence[Value] | FloatArray) -> FloatArray:
        if isinstance(values, np.ndarray):
            return values
        for position, value in enumerate(values):
            if isinstance(value, Sequence):
                raise InvalidRequest(f"value {position} is a list: expected a number")
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is found as such
            return np.array(values, dtype=np.float32)

    def _order(self, keys: tuple[str, ...]) -> list[int]:
        """For each feature in turn, the position of its key; remembered, since clients repeat themselves."""
        order = self._orders.get(keys)
        if order is None:
            self._check_names(keys)
            positions = {key: position for position, key in enumerate(keys)}
            if len(positions) < len(keys):
                twice = next(key for position, key in enumerate(keys) if positions[key] != position)
                raise InvalidRequest(f"key {twice!r} is given twice: expected {self._expected()}")
            order = [positions[feature.name] for feature in self.features]
            if len(self._orders) >= REMEMBERED_ORDERS:
                self._orders.clear()
            self._orders[keys] = order
        return order

    def _collect(self, keys: Sequence[str], values: Sequence[Value] | FloatArray) -> FloatArray:
        """Gather the objects of jagged features, padded with NaN; those past a feature's dimension are left out."""
        self._check_names(keys)
        objects: dict[str, list[float | None]] = {}
        for key, value in zip(keys, values, strict=True):
            feature = self._places[key][1]
            if isinstance(value, Sequence):
                if feature.kind == "flat":
                    raise InvalidRequest(f"value {key!r} is a list: expected a number, the feature is flat")
                objects.setdefault(key, []).extend(value)
            else:
                objects.setdefault(key, []).append(value)
        vector = np.full(self.width, np.nan, dtype=np.float32)
        for key, numbers in objects.items():
            start, feature = self._places[key]
            if feature.kind == "flat" and len(numbers) > 1:
                raise InvalidRequest(f"key {key!r} is given twice: expected one number, the feature is flat")
            kept = numbers[: feature.dim]
            with np.errstate(over="ignore"):
                vector[start : start + len(kept)] = np.array(kept, dtype=np.float32)
        return vector

    def _check_names(self, keys: Sequence[str]) -> None:
        given = set(keys)
        unknown = [key for key in keys if key not in self._places]
        missing = [feature.name for feature in self.features if feature.name not in given]
        if not unknown and not missing:
            return
        problems = []
        if unknown:
            known = list(self._places)[:COMPARED_NAMES]
            meant = difflib.get_close_matches(unknown[0][:SHOWN_LETTERS], known, n=1)
            hint = f" (did you mean {meant[0]!r}?)" if meant else ""
            problems.append(f"unknown feature {_shown(unknown)}{hint}")
        if missing:
            problems.append(f"missing feature {_shown(missing)}")
        raise InvalidRequest(f"{'; '.join(problems)}: expected {self._expected()}")

    def _expected(self, before: str = "") -> str:
        names = [describe(feature) for feature in self.features[:SHOWN_NAMES]]
        more = len(self.features) - len(names)
        return before + ", ".join(names) + (f" and {more} more" if more else "") if names else ""


def describe(feature: Feature) -> str:
    return feature.name if feature.kind == "flat" else f"{feature.name} (up to {feature.dim} values)"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:SHOWN_LETTERS]) for name in names[:10])


def _required_columns(manifest: Manifest, width: int) -> NDArray[np.bool_] | None:
    """bool (width,): where a number must be, since the model has no rule for a missing one; None for nowhere."""
    if manifest.missing:
        return None
    if not manifest.features:
        return np.ones(width, dtype=bool)
    flat = [feature.kind == "flat" for feature in manifest.features]
    return np.repeat(flat, [feature.dim for feature in manifest.features])


def _integer_columns(signature: Signature) -> list[tuple[slice, int, int]]:
    """The columns that the model takes as integers, with the range that a float32 can carry exactly."""
    columns, start = [], 0
    for spec in signature.inputs:
        dtype = np.dtype(spec.dtype)
        if dtype.kind in "iub":
            limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            lowest, highest = max(limits[0], -EXACT_INTEGERS), min(limits[1], EXACT_INTEGERS)
            columns.append((slice(start, start + spec.width), int(lowest), int(highest)))
        start += spec.width
    return columns
