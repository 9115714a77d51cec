"""YAML as people write it, without what makes it surprising."""

from collections.abc import Hashable
from typing import Any

import yaml

from mlaas.errors import SelectionError


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise SelectionError(f"line {node.start_mark.line + 1}: the key {twice!r} is there twice in one object")
        return mapping


def read_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        SelectionError: It is not YAML; the message names the line.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, character {mark.column + 1}" if mark else ""
        raise SelectionError(f"not YAML{place}: {getattr(error, 'problem', None) or error}") from error
