"""What scoring has to know about a model, wherever it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import SelectionError
from mlaas.features import Feature, width
from mlaas.scoring.errors import ScoringError
from mlaas.selection import Selection
from tfaas.bundles import Manifest

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A version of a model.

    Attributes:
        reference: ``net:3``, or the name of a bundle.
        digest: SHA-256 of its bundle, in hexadecimal.
        features: What goes in, in order.
        selection: The new branches among the features, and those that they are computed from; it has no cuts.
        moduli: Features of which the remainder goes in → by what they are divided.
        missing: Whether a flat feature may be missing.
        outputs: Names of the outputs that are scores.
        labels: Of the first output; empty where it has none.
    """

    reference: str
    digest: str
    features: tuple[Feature, ...]
    selection: Selection
    moduli: Mapping[str, int]
    missing: bool
    outputs: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def describe(
        cls, reference: str, digest: str, manifest: Manifest, signature: Mapping[str, Any], labels: Sequence[str]
    ) -> "Model":
        """A model by what the registry says about it.

        Raises:
            ScoringError: It declares no features, or has no output that is a score.
        """
        if not manifest.features:
            raise ScoringError(f"{reference} declares no features: expected the names of branches in its manifest")
        features = tuple(
            Feature(one.name, one.kind, one.dim, tuple((one.model_extra or {}).get("categories", ())))
            for one in manifest.features
        )
        try:
            trained = Selection.from_dict(manifest.lineage.get("preproc") or {})
        except SelectionError as error:
            raise ScoringError(f"{reference}: the preproc in its lineage is not valid: {error}") from error
        return cls(
            reference,
            digest,
            features,
            _needed(trained, [feature.name for feature in features]),
            {one.name: one.modulo for one in manifest.features if one.modulo is not None},
            manifest.missing,
            _scores(reference, manifest, signature["outputs"]),
            tuple(labels),
        )

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """The features that are strings in files → the strings that stand behind 0, 1, 2, …"""
        return {feature.name: feature.categories for feature in self.features if feature.categories}

    @property
    def width(self) -> int:
        """Numbers in one event."""
        return width(self.features)


class Scorer(Protocol):
    """A model that is ready to run."""

    model: Model

    def predict(self, events: FloatArray) -> list[FloatArray]:
        """Scores of ``events`` (n, width), raw values with NaN for what is missing.

        Returns:
            For each of ``model.outputs`` float32 (n, numbers an event).

        Raises:
            ScoringError: The model fails, or is out of reach.
        """
        ...

    def close(self) -> None: ...


def score_columns(scorer: Scorer) -> list[str]:
    """Names of the numbers that an event is given, tried on one event."""
    model = scorer.model
    names = []
    for place, answer in enumerate(scorer.predict(np.zeros((1, model.width), np.float32))):
        stem = "score" if len(model.outputs) == 1 else f"score_{model.outputs[place]}"
        count = answer.shape[1]
        labels = model.labels if not place and len(model.labels) == count else tuple(map(str, range(count)))
        names += [stem] if count == 1 else [f"{stem}_{label}" for label in labels]
    return names


def _needed(selection: Selection, features: Sequence[str]) -> Selection:
    """The new branches that ``features`` need, directly or through other new ones."""
    needed, wanted = [], set(features)
    for new in reversed(selection.new_branches):
        if new.name in wanted:
            needed.append(new)
            wanted.update(new.definition.names)
    return replace(selection, new_branches=tuple(reversed(needed)), cuts=(), removed=frozenset())


def _scores(reference: str, manifest: Manifest, outputs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The output that the manifest names, else all of floating point."""
    named = [str(spec["name"]) for spec in outputs if spec["name"] == manifest.output_node]
    floating = [str(spec["name"]) for spec in outputs if str(spec["dtype"]).startswith("float")]
    if not named and not floating:
        given = ", ".join(f"{spec['name']} ({spec['dtype']})" for spec in outputs)
        raise ScoringError(f"{reference} has the outputs {given}: expected one of floating point")
    return tuple(named or floating)
