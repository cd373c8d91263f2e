"""YAML as editors read it, by the core schema of YAML 1.2, into values of JSON.

PyYAML reads YAML 1.1, where ``on`` is true and 1:30 a number. Keys are text, as in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


def _boolean(text: str) -> bool:
    return text.lower() == "true"


def _integer(text: str) -> int:
    return int(text, 10 if text.lstrip("+-").isdecimal() else 0)


def _null(_: str) -> None:
    return None


#: Tag, pattern and value of the plain scalars that are no text (YAML 1.2.2, 10.3.2).
_CORE: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("null", r"~|null|Null|NULL|", _null),
    ("bool", r"true|True|TRUE|false|False|FALSE", _boolean),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _integer),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
)


def _construct(value: Callable[[str], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    return lambda _, node: value(node.value)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _value in _CORE:
    _name = f"tag:yaml.org,2002:{_tag}"
    _Loader.add_implicit_resolver(_name, re.compile(rf"(?:{_pattern})\Z"), None)
    _Loader.add_constructor(_name, _construct(_value))


def read(text: str | bytes) -> Any:
    """The one document in *text*."""
    return yaml.load(text, _Loader)
