"""Arithmetic on branches, for whole arrays of events at once.

An expression is a number, the name of a branch, or made of these with ``+ - * / // % **``, comparisons
(chained ones too), ``and or not`` or ``& | ~``, and the functions in :mod:`mlaas.functions`. Of a jagged branch,
``pt[0]`` and ``pt[-1]`` are one object of each event, ``pt[:2]`` the first two, ``pt[eta > 0]`` those that pass.
Numbers are widened to int64 or float64 before they are used, so that nothing overflows that has not
overflowed in the file; ``**`` always gives float64. Logarithms and roots of negative numbers and
divisions by zero give NaN or infinity.
"""

import ast
import operator
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mlaas.errors import SelectionError, suggestion
from mlaas.functions import FUNCTIONS, REDUCTIONS, object_at, objects_where
from mlaas.readers.arrays import as_number, is_jagged, leaf_dtype, widened
from mlaas.readers.base import Events, Kind

MAX_LENGTH = 2000
MAX_DEPTH = 40

_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: np.power(base * 1.0, exponent),
}

_LOGIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.BitAnd: np.bitwise_and,
    ast.BitOr: np.bitwise_or,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
}

_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes:
        text: As it was written.
        names: Branches it uses, in the order of first use.
    """

    text: str
    names: tuple[str, ...]
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text`` without evaluating any of it.

        Raises:
            SelectionError: Not an expression as described above; the message names the character.
        """
        text = " ".join(text.split())
        tree = _parse(text)
        names: dict[str, None] = {}
        _Checker(text, names).check(tree)
        if not names:
            raise SelectionError(f"'{text}' uses no branch")
        return cls(text, tuple(names), tree)

    def kind(self, kinds: Mapping[str, Kind]) -> Kind:
        """Whether the value is flat or jagged, where its branches are of ``kinds``."""
        return _kind(self._tree, kinds)

    def evaluate(self, events: Events) -> Any:
        """Evaluate for all ``events``.

        Returns:
            Awkward array of bool, int64 or float64, one entry an event: numbers, or lists of numbers
            where a jagged branch is used outside a reduction.

        Raises:
            SelectionError: An unknown branch, or kinds and lengths that do not fit together.
        """
        with np.errstate(all="ignore"):
            return _Evaluator(self.text, events).value(self._tree)


def _kind(node: ast.expr, kinds: Mapping[str, Kind]) -> Kind:
    match node:
        case ast.Name() | ast.Attribute():
            return kinds.get(ast.unparse(node), "flat")
        case ast.Call(ast.Name(id=name)) if name in REDUCTIONS:
            return "flat"
        case ast.Subscript(slice=index):
            return "flat" if _integer(index) is not None else "jagged"
    operands = (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
    return "jagged" if any(_kind(operand, kinds) == "jagged" for operand in operands) else "flat"


def _integer(node: ast.expr | None) -> int | None:
    """The number where ``node`` is an integer that is written out, ``2`` or ``-1``."""
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(value=int() as value)) if not isinstance(value, bool):
            return -value
    return None


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise SelectionError(f"'{text[:40]}…' has {len(text)} characters; at most {MAX_LENGTH} are expected")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except (RecursionError, MemoryError) as error:
        raise SelectionError(f"'{text[:40]}…' is nested too deeply") from error
    except (SyntaxError, ValueError) as error:
        hint = "; write and, or, not for &&, ||, !" if any(sign in text for sign in ("&&", "||", "!")) else ""
        position = getattr(error, "offset", None) or 1
        raise SelectionError(f"{_pointed(text, position - 1, 'is not an expression')}{hint}") from error


def _pointed(text: str, position: int, what: str) -> str:
    """``what``, with the place in ``text`` marked by ▸ and long text around it left out."""
    before = text[:position] if position <= 60 else f"…{text[position - 60 : position]}"
    after = text[position:] if len(text) - position <= 60 else f"{text[position : position + 60]}…"
    return f"'{before}▸{after}' {what} (character {position + 1})"


class _Walker:
    """What checking and evaluating have in common: the text, and pointing at a place in it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _error(self, node: ast.expr, what: str) -> SelectionError:
        position = len(self._text.encode()[: node.col_offset].decode())
        return SelectionError(_pointed(self._text, position, what))


class _Checker(_Walker):
    """Refuses everything that the evaluator does not know; collects the names of branches."""

    def __init__(self, text: str, names: dict[str, None]) -> None:
        super().__init__(text)
        self._names = names

    def check(self, node: ast.expr, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise self._error(node, "is nested too deeply")
        for operand in self._operands(node):
            self.check(operand, depth + 1)

    def _operands(self, node: ast.expr) -> list[ast.expr]:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if abs(value) > sys.float_info.max:
                    raise self._error(node, "has a number that is too large")
                return []
            case ast.Name() | ast.Attribute():
                self._names[self._dotted(node)] = None
                return []
            case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC | _LOGIC:
                return [left, right]
            case ast.BoolOp(values=values):
                return values
            case ast.UnaryOp(operand=operand):
                return [operand]
            case ast.Compare(left, ops, comparators) if all(type(op) in _COMPARISONS for op in ops):
                self._check_chain(comparators[:-1])
                return [left, *comparators]
            case ast.Call(ast.Name(id=name), args, []):
                self._check_call(node, name, len(args))
                return args
            case ast.Subscript(value, ast.Slice() as index):
                self._check_slice(index)
                return [value]
            case ast.Subscript(value, index):
                return [value] if _integer(index) is not None else [value, index]
        raise self._error(node, "has something that expressions do not allow")

    def _dotted(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=value, attr=attribute):
                return f"{self._dotted(value)}.{attribute}"
        raise self._error(node, "has something that expressions do not allow")

    def _check_chain(self, inner: list[ast.expr]) -> None:
        for node in inner:
            if isinstance(node, ast.BinOp) and type(node.op) in _LOGIC:
                raise self._error(node, "joins comparisons with & or | that have no parentheses")

    def _check_slice(self, index: ast.Slice) -> None:
        for bound in (index.lower, index.upper, index.step):
            if bound is not None and (_integer(bound) is None or bound is index.step):
                raise self._error(bound, "has a slice that is not of the form [first:past_the_last] with integers")

    def _check_call(self, node: ast.expr, name: str, given: int) -> None:
        if name not in FUNCTIONS and name not in REDUCTIONS:
            close = suggestion(name, [*FUNCTIONS, *REDUCTIONS])
            raise self._error(node, f"has an unknown function {name}{close}")
        expected = FUNCTIONS[name][0] if name in FUNCTIONS else 1
        if given != expected:
            pair = {"max": "; use maximum(a, b)", "min": "; use minimum(a, b)"}.get(name, "")
            raise self._error(node, f"gives {name} {given} arguments where it takes {expected}{pair}")


class _Evaluator(_Walker):
    """Computes the value of a checked expression."""

    def __init__(self, text: str, events: Events) -> None:
        super().__init__(text)
        self._events = events

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() | float() as value):
                small = isinstance(value, int) and abs(value) < 2**63
                return np.int64(value) if small else np.float64(value)
            case ast.Name() | ast.Attribute():
                return self._branch(node)
            case ast.UnaryOp(op, operand):
                return self._unary(node, op, self.value(operand))
            case ast.BinOp(left, op, right):
                return self._binary(node, op, self.value(left), self.value(right))
            case ast.BoolOp(op, values):
                result = self.value(values[0])
                for operand in values[1:]:
                    result = self._binary(node, op, result, self.value(operand))
                return result
            case ast.Compare():
                return self._compare(node)
            case ast.Call(ast.Name(id=name), args):
                return self._call(node, name, [self.value(argument) for argument in args])
            case ast.Subscript(value, index):
                return self._objects(node, self.value(value), index)
        raise AssertionError(f"{ast.dump(node)} has passed the check")

    def _branch(self, node: ast.expr) -> Any:
        name = ast.unparse(node)
        if name not in self._events:
            raise self._error(node, f"has no branch {name} to use{suggestion(name, self._events)}")
        return widened(self._events[name])

    def _unary(self, node: ast.expr, op: ast.unaryop, operand: Any) -> Any:
        if isinstance(op, ast.Not):
            return np.logical_not(operand)
        if isinstance(op, ast.Invert):
            if leaf_dtype(operand).kind == "f":
                raise self._error(node, "applies ~ to a number that is not an integer")
            return np.invert(operand)
        number = as_number(operand)
        return -number if isinstance(op, ast.USub) else number

    def _binary(self, node: ast.expr, op: ast.AST, left: Any, right: Any) -> Any:
        if type(op) in _ARITHMETIC:
            return self._apply(node, _ARITHMETIC[type(op)], as_number(left), as_number(right))
        kinds = {leaf_dtype(left).kind, leaf_dtype(right).kind}
        if isinstance(op, ast.BitAnd | ast.BitOr) and kinds not in ({"b"}, {"i"}):
            raise self._error(node, "joins comparisons with & or | that have no parentheses")
        return self._apply(node, _LOGIC[type(op)], left, right)

    def _compare(self, node: ast.Compare) -> Any:
        values = [self.value(operand) for operand in (node.left, *node.comparators)]
        result = None
        for op, left, right in zip(node.ops, values[:-1], values[1:], strict=True):
            passed = self._apply(node, _COMPARISONS[type(op)], left, right)
            result = passed if result is None else self._apply(node, np.logical_and, result, passed)
        return result

    def _call(self, node: ast.expr, name: str, values: list[Any]) -> Any:
        if name in FUNCTIONS:
            return self._apply(node, FUNCTIONS[name][1], *(as_number(value) for value in values))
        if not is_jagged(values[0]):
            raise self._error(node, f"takes {name} of one number an event; it takes lists (jagged)")
        return self._apply(node, REDUCTIONS[name], values[0])

    def _objects(self, node: ast.expr, array: Any, index: ast.expr) -> Any:
        if not is_jagged(array):
            raise self._error(node, "takes objects of one number an event; it takes lists (jagged)")
        if isinstance(index, ast.Slice):
            return array[:, _integer(index.lower) : _integer(index.upper)]
        place = _integer(index)
        if place is not None:
            return object_at(as_number(array), place)
        passing = self.value(index)
        if not is_jagged(passing) or leaf_dtype(passing).kind != "b":
            raise self._error(index, "is no comparison of lists, which tells what objects to take")
        return self._apply(node, objects_where, array, passing)

    def _apply(self, node: ast.expr, function: Callable[..., Any], *operands: Any) -> Any:
        try:
            return function(*operands)
        except (ValueError, IndexError) as error:
            raise self._error(node, "combines lists of different lengths") from error
