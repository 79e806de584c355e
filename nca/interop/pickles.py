"""Pickles read without running them.

A pickle is a program for a small stack machine, whose instructions call functions. This machine calls
none: a call becomes a record of what would have been called, `Inert`, which is only ever looked at.
`pickletools.genops` (standard library) splits the bytes into instructions.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from nca.interop.limits import DamagedError

MOST_INSTRUCTIONS = 2_000_000
MARK = object()
RECONSTRUCTORS = ("copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__")
KEYS = (str, int, float, bytes, bool, type(None))
PLAIN = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
SILENT = {"PROTO", "FRAME", "STOP"}


@dataclass(eq=False)
class Inert:
    """What a pickle wanted to make, by name, never made.

    Attributes:
        name: `module.function`, or "persistent" for a reference to data outside the pickle.
        args: what it would have been called with.
        state: what it would have been given afterwards.
        items: entries that it would have been given, as of a dict or a list.
    """

    name: str
    args: Any = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


def read(stream: IO[bytes]) -> Any:
    """The first pickle of a stream, with `Inert` in place of every object.

    Raises:
        DamagedError: it is no pickle.
    """
    machine = _Machine()
    try:
        for number, (code, value, _) in enumerate(pickletools.genops(stream)):
            if number > MOST_INSTRUCTIONS:
                raise DamagedError(f"its pickle has more than {MOST_INSTRUCTIONS} instructions.")
            machine.do(code.name, value)
        return machine.stack.pop()
    except DamagedError:
        raise
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise DamagedError("its pickle is damaged.") from error


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, value: Any) -> None:
        """One instruction."""
        if name in PLAIN:
            self.stack.append(value)
        elif name in FIXED:
            self.stack.append(FIXED[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name not in SILENT:
            act = getattr(self, "_" + name.lower(), None)
            if act is None:
                raise DamagedError(f"its pickle has an instruction that is not read: {name}.")
            act(value)

    def _marked(self) -> list[Any]:
        found = []
        while (top := self.stack.pop()) is not MARK:
            found.append(top)
        return found[::-1]

    def _mark(self, _: Any) -> None:
        self.stack.append(MARK)

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._marked()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _put(self, place: Any) -> None:
        self.memo[int(place)] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, place: Any) -> None:
        self.stack.append(self.memo[int(place)])

    _binget = _long_binget = _get

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def _tuple1(self, _: Any) -> None:
        self._last(1)

    def _tuple2(self, _: Any) -> None:
        self._last(2)

    def _tuple3(self, _: Any) -> None:
        self._last(3)

    def _last(self, number: int) -> None:
        if len(self.stack) < number:
            raise IndexError
        self.stack[-number:] = [tuple(self.stack[-number:])]

    def _list(self, _: Any) -> None:
        self.stack.append(self._marked())

    _frozenset = _list

    def _dict(self, _: Any) -> None:
        made: dict[Any, Any] = {}
        _fill(made, self._marked())
        self.stack.append(made)

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        _extend(self.stack[-1], [item])

    def _appends(self, _: Any) -> None:
        items = self._marked()
        _extend(self.stack[-1], items)

    _additems = _appends

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _fill(self.stack[-1], [key, value])

    def _setitems(self, _: Any) -> None:
        pairs = self._marked()
        _fill(self.stack[-1], pairs)

    def _global(self, name: Any) -> None:
        self.stack.append(Inert(str(name).replace(" ", ".")))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError
        self.stack.append(Inert(f"{module}.{name}"))

    def _reduce(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Inert):
            raise ValueError
        # An ordered dictionary is one, whatever makes it.
        if function.name == "collections.OrderedDict" and args == ():
            self.stack.append({})
        elif function.name in RECONSTRUCTORS and isinstance(args, tuple) and isinstance(args[0], Inert):
            self.stack.append(Inert(args[0].name, ()))
        else:
            self.stack.append(Inert(function.name, args))

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self._reduce(None)

    def _inst(self, name: Any) -> None:
        self.stack.append(Inert(str(name).replace(" ", "."), tuple(self._marked())))

    def _obj(self, _: Any) -> None:
        made = self._marked()
        if not isinstance(made[0], Inert):
            raise ValueError
        self.stack.append(Inert(made[0].name, tuple(made[1:])))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        # A dictionary that is given a state is a state_dict with its `_metadata`.
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    def _binpersid(self, _: Any) -> None:
        args = self.stack.pop()
        # Old files of whole modules keep a class together with its source.
        kept = isinstance(args, tuple) and len(args) > 1 and args[0] == "module"
        self.stack.append(args[1] if kept else Inert("persistent", args))

    def _persid(self, name: Any) -> None:
        self.stack.append(Inert("persistent", (name,)))


def _fill(target: Any, pairs: list[Any]) -> None:
    entries = target.items if isinstance(target, Inert) else target
    if not isinstance(entries, dict) or len(pairs) % 2:
        raise ValueError
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        # Keys of other kinds would be hashed, which a nested tuple can make arbitrarily deep.
        if isinstance(key, KEYS):
            entries[key] = value


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, Inert):
        target.items.update({len(target.items) + i: item for i, item in enumerate(items)})
    elif isinstance(target, list):
        target.extend(items)
    else:
        raise ValueError


def walk(root: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value within containers and inert objects, once, with the keys that lead to it.

    In the order of the file; loops and shared parts are met once. Stops at `Inert` whose name is
    `torch._utils._rebuild...` or `persistent`, which the caller reads.
    """
    seen: set[int] = set()
    todo: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while todo:
        path, value = todo.pop()
        children = _children(value)
        if children is not None:
            if id(value) in seen:
                continue
            seen.add(id(value))
        yield path, value
        if children and len(path) < 64:
            todo += [((*path, str(key)[:80]), child) for key, child in reversed(children)]


def _children(value: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, Inert):
        inside = [("args", value.args)] if not value.name.startswith(("torch._utils.", "persistent")) else []
        state = value.state if isinstance(value.state, dict) else {}
        return [*state.items(), *value.items.items(), *inside]
    return None
