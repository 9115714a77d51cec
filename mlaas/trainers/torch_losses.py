"""What PyTorch's losses compare, and what makes probabilities of the numbers that they take."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from mlaas.errors import ModelError


@dataclass(frozen=True)
class LossKind:
    """How a loss is used.

    Attributes:
        classifies: Whether it compares with a class; with a quantity otherwise.
        by_index: Whether it takes an output for each class and the index of the right one.
        activation: From outputs (n, outputs) to what is served.
        inside: The layer that it applies itself, and that a model must not end in.
    """

    classifies: bool = False
    by_index: bool = False
    activation: Callable[[torch.Tensor], torch.Tensor] = lambda outputs: outputs
    inside: type[torch.nn.Module] | None = None


BINARY = LossKind(classifies=True)
BINARY_LOGITS = LossKind(classifies=True, activation=torch.sigmoid, inside=torch.nn.Sigmoid)
LOGITS = LossKind(True, True, lambda outputs: torch.softmax(outputs, dim=1), torch.nn.Softmax)
LOG_PROBABILITIES = LossKind(True, True, torch.exp)
# By the name of the class or the function, without underscores.
KINDS = {
    "bceloss": BINARY,
    "binarycrossentropy": BINARY,
    "bcewithlogitsloss": BINARY_LOGITS,
    "binarycrossentropywithlogits": BINARY_LOGITS,
    "crossentropyloss": LOGITS,
    "crossentropy": LOGITS,
    "nllloss": LOG_PROBABILITIES,
}


class Loss:
    """A loss of the user's, or the usual one for the outputs and classes.

    Args:
        given: A module or a function of outputs and targets; None for the usual one.
        outputs: Of the network for an event.
        classes: That the labels tell apart; 0 for a quantity.

    Raises:
        ModelError: The loss fits neither the network nor the labels.
    """

    def __init__(self, given: Any, network: torch.nn.Module, outputs: int, classes: int) -> None:
        self._function = given if given is not None else _usual(network, outputs, classes)
        self.name = getattr(self._function, "__name__", type(self._function).__name__)
        self.kind = KINDS.get(self.name.lower().replace("_", ""), LossKind())
        if not callable(self._function):
            raise ModelError(f"the attribute loss of the model is a {self.name}: expected a loss module or a function")
        self._check(_last_layer(network), outputs, classes)
        # One number an event, so that each can have its weight.
        if isinstance(getattr(self._function, "reduction", None), str):
            self._function.reduction = "none"
        elif "reduction" in _parameters(self._function):
            self._function = partial(self._function, reduction="none")

    def to(self, device: torch.device) -> None:
        """Move the numbers that it owns, such as weights of classes."""
        if isinstance(self._function, torch.nn.Module):
            self._function.to(device)

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        """Mean over the events of (n, outputs), for targets (n,) and weights (n,)."""
        targets = targets.long() if self.kind.by_index else targets.reshape(-1, 1)
        losses = self._function(outputs, targets)
        if weights is None:
            return losses.mean()
        if losses.ndim == 0:
            raise ModelError(f"the loss {self.name} gives one number for all events, which can't have weights then")
        return (losses.reshape(len(weights), -1).mean(dim=1) * weights).mean()

    def _check(self, last: torch.nn.Module, outputs: int, classes: int) -> None:
        kind, name = self.kind, self.name
        if kind.classifies and not classes:
            raise ModelError(f"the loss {name} needs labels that are classes: these are quantities")
        if kind.by_index and outputs != classes:
            raise ModelError(f"the model has {outputs} outputs: {name} expects one for each of {classes} classes")
        if not kind.by_index and outputs != 1:
            raise ModelError(f"the model has {outputs} outputs: {name} expects one")
        if kind.classifies and not kind.by_index and classes > 2:
            raise ModelError(f"the loss {name} tells two classes apart, the labels {classes}: use CrossEntropyLoss")
        if kind.inside is not None and isinstance(last, kind.inside):
            raise ModelError(f"the model ends in {type(last).__name__}, which {name} applies itself: leave it out")


def _usual(network: torch.nn.Module, outputs: int, classes: int) -> Any:
    if not classes:
        return torch.nn.MSELoss()
    if outputs > 1 or classes > 2:
        return torch.nn.CrossEntropyLoss()
    return torch.nn.BCELoss() if isinstance(_last_layer(network), torch.nn.Sigmoid) else torch.nn.BCEWithLogitsLoss()


def _last_layer(network: torch.nn.Module) -> torch.nn.Module:
    while isinstance(network, torch.nn.Sequential) and len(network):
        network = network[-1]
    return network


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some of those written in C
        return []
