"""Finds in the source every reason that a condition or an event can carry. Used by test_docs.

Reasons are CamelCase constants that stand before a sentence, in a place that is one for reasons, or under that name.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_CAMEL = re.compile(r"^[A-Z][A-Za-z0-9]+$")
#: Calls with a reason among their positional arguments, and which one it is.
_PLACES = {
    "Refused": 0, "Hold": 0, "Must": 0, "Wait": 0, "NoWire": 0, "event": 0, "Verdict": 1, "OnStore": 1, "set": 2,
}  # fmt: skip
#: Calls in which a constant before a sentence is something else: an HTTP answer, an allocation state.
_OTHERS = {"ApiError", "Allocation", "add_argument"}


def sources() -> list[Path]:
    """Where reasons are made."""
    return [*sorted((ROOT / "controllers").rglob("*.py")), ROOT / "drivers" / "errors.py"]


def reasons() -> dict[str, str]:
    """Each reason with one place where it stands."""
    found: dict[str, str] = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            for reason in _in(node):
                found.setdefault(reason, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
    return found


def _in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call():
            yield from _in_call(node)
        case ast.Tuple(elts=[first, second]) if _is_sentence(second):
            yield from _constants(first)
        case (
            ast.Return(value=ast.Tuple(elts=[_, reason, _]))
            | ast.FunctionDef(name="reason", body=[*_, ast.Return(value=reason)])
        ):
            yield from _constants(reason)
        case ast.ClassDef(body=body):
            for line in body:
                if isinstance(line, ast.Assign) and any(getattr(t, "id", "") == "reason" for t in line.targets):
                    yield from _constants(line.value)


def _in_call(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in _OTHERS:
        return
    for first, second in zip(call.args, call.args[1:], strict=False):
        if _is_sentence(second):
            yield from _constants(first)
    if name in _PLACES and len(call.args) > _PLACES[name]:
        yield from _constants(call.args[_PLACES[name]])
    for keyword in call.keywords:
        if keyword.arg == "reason":
            yield from _constants(keyword.value)
        elif keyword.arg == "problem" and isinstance(keyword.value, ast.Tuple):
            yield from _constants(keyword.value.elts[0])


def _constants(node: ast.expr | None) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)) if _CAMEL.match(text):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _constants(one)
            yield from _constants(other)


def _is_sentence(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str(text)):
            return " " in text
        case ast.JoinedStr(values=parts):
            return any(_is_sentence(part) for part in parts)
        case ast.BinOp(left=left, right=right):
            return _is_sentence(left) or _is_sentence(right)
    return False
