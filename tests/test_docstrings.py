"""Public names say what they take: shapes of tensors, every parameter, and what is raised."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

import vaefast

ROOMS = ("ops", "metrics", "nets", "models", "training", "data")
NAMES = [f"vaefast.{name}" for name in vaefast.__all__ if name not in (*ROOMS, "__version__")] + [
    f"vaefast.{room}.{name}" for room in ROOMS for name in importlib.import_module(f"vaefast.{room}").__all__]
STRICT = [name for name in NAMES if name.startswith("vaefast.ops.") or name.count(".") == 1]
"""What users meet first: the top level and the ops."""


def found(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def callables(names: list[str]) -> list[str]:
    return [name for name in names if inspect.isclass(found(name)) or inspect.isroutine(found(name))]


def text(name: str) -> str:
    return inspect.getdoc(found(name)) or ""


def own_signature(value: object) -> inspect.Signature:
    try:
        return inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return inspect.Signature()


@pytest.mark.parametrize("name", callables(NAMES))
def test_a_public_name_says_what_it_is(name):
    said = text(name)
    assert said and not said.startswith(f"{name.rpartition('.')[2]}("), name  # a dataclass's own signature is no docstring
    assert said.splitlines()[0].strip().endswith((".", ":", ",")) or len(said.splitlines()) > 1, name


@pytest.mark.parametrize("name", callables(STRICT))
def test_tensors_have_shapes_and_parameters_are_explained(name):
    value, said = found(name), text(name)
    if "Args:" not in said:  # few and plain parameters are told in the sentence
        there = re.search(r"\b(arguments|as|those)\b[^.]*`", said, re.I)  # or where they are explained
        assert len(own_signature(value).parameters) <= 3 or there or inspect.isclass(value), name
    else:
        said = "\n".join(inspect.getdoc(base) or "" for base in (inspect.getmro(value) if inspect.isclass(value) else (value,)))
        for parameter in own_signature(value).parameters:
            assert re.search(rf"\b{parameter}\b", said), f"{name} does not explain {parameter}"
    takes_tensors = any("Tensor" in str(p.annotation) for p in own_signature(value).parameters.values())
    if inspect.isroutine(value) and takes_tensors:
        assert re.search(r"\[[\w., ]+\]|scalar|shape", said), f"{name} gives no shape"


@pytest.mark.parametrize("name", callables(STRICT))
def test_what_raises_says_so(name):
    value = found(name)
    source = inspect.getsource(value)
    if inspect.isclass(value):  # not what its methods raise
        source = "\n".join(re.findall(r"^    def __(?:post_)?init__\(.*?(?=^    (?:def|@)|\Z)", source, re.M | re.S))
    if re.search(r"^\s+raise \w*(Error|Exception)", source, re.M):
        assert "Raises:" in text(name) or re.search(r"\braises?\b", text(name)), f"{name} does not say what it raises"
