"""A machine for the pickle language that can call nothing: its objects are containers, plain values and inert records.

A pickle is a program for a stack machine, whose globals name functions that a common reader would import and call. Here a global is an
`InertClass`, a name and no more; calling it gives what the machine's owner builds for that name, or an `InertRecord` of the call.
Objects have their state set only if they are made for it (`Restorable`). The standard library's `pickletools.genops` cuts the program
into opcodes and checks their arguments against the bytes that are there; this file says what each opcode does.

A short program can also ask for much memory or time, so each run has a `Budget`.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from models.pickle_records import Budget, InertClass, InertRecord, Restorable, checked_key


class PickleMachine:
    """Runs pickles.

    Args:
        known: What is built for a call, by the full name of what is called.
        constants: Values that globals stand for, by full name.
        budget: What it may use.
        persistent: Gives the object of a persistent id; without it such ids are refused.
    """

    def __init__(
        self,
        known: Mapping[str, Callable[..., Any]],
        constants: Mapping[str, Any],
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._known = known
        self._constants = constants
        self._budget = budget
        self._persistent = persistent
        self._classes: dict[str, InertClass] = {}
        self._memo: dict[int, Any] = {}
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []

    def run(self, stream: io.BytesIO) -> Any:
        """Read one pickle.

        Args:
            stream: Positioned at the pickle, and behind it afterwards. A read of more bytes than are left must not allocate them.

        Raises:
            pickle.UnpicklingError, ValueError, IndexError, KeyError, TypeError: for programs that are damaged, or that ask for more
                than containers, plain values and what is known.
        """
        self._memo, self._stack, self._marked = {}, [], []
        for opcode, argument, _ in pickletools.genops(stream):
            self._budget.opcode()
            if opcode.name in _VALUES:
                self._stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode.name])
            elif opcode.name in _STEPS:
                _STEPS[opcode.name](self, argument)
            elif opcode.name == "STOP":
                break
            else:
                raise pickle.UnpicklingError(f"the opcode {opcode.name}, which checkpoints do not use")
        return self._stack.pop()

    def call(self, target: Any, arguments: Any, keywords: Any = None) -> Any:
        """What a call in the pickle gives: something known, or the record of it.

        Args:
            target: What is called.
            arguments: Tuple of its arguments.
            keywords: Dictionary of its named arguments.
        """
        if not isinstance(target, InertClass) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError(f"a call of a {type(target).__name__} with a {type(arguments).__name__}")
        if keywords is not None and not isinstance(keywords, dict):
            raise pickle.UnpicklingError(f"named arguments in a {type(keywords).__name__}")
        if target.class_name in self._known and not keywords:
            return self._known[target.class_name](*arguments)
        self._budget.copy(len(keywords or ()))
        self._budget.container()
        return InertRecord(target.class_name, arguments, dict(keywords or {}))

    def _named(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise pickle.UnpicklingError("a global whose name is no text")
        full = f"{module}.{name}"
        if full in self._constants:
            return self._constants[full]
        return self._classes.setdefault(full, InertClass(full))

    def _pop_to_mark(self) -> list[Any]:
        elements, self._stack = self._stack, self._marked.pop()
        return elements

    def _set_items(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        target = self._stack[-1]
        entries = target.entries if isinstance(target, InertRecord) else target
        if not isinstance(entries, dict):
            raise pickle.UnpicklingError(f"items set on a {type(target).__name__}")
        for key, value in pairs:
            entries[checked_key(key)] = value

    def _extend(self, elements: list[Any]) -> None:
        target = self._stack[-1]
        existing = target.elements if isinstance(target, InertRecord) else target
        if not isinstance(existing, list):
            raise pickle.UnpicklingError(f"elements appended to a {type(target).__name__}")
        existing.extend(elements)

    # One method for each opcode or family of them; the argument is the one in the program, None where it has none.

    def _mark(self, argument: None) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop(self, argument: None) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_to_mark()

    def _pop_mark(self, argument: None) -> None:
        self._pop_to_mark()

    def _duplicate(self, argument: None) -> None:
        self._stack.append(self._stack[-1])

    def _put(self, argument: int) -> None:
        self._memo[argument] = self._stack[-1]

    def _memoize(self, argument: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, argument: int) -> None:
        self._stack.append(self._memo[argument])

    def _empty_list(self, argument: None) -> None:
        self._budget.container()
        self._stack.append([])

    def _empty_dict(self, argument: None) -> None:
        self._budget.container()
        self._stack.append({})

    def _empty_set(self, argument: None) -> None:
        self._budget.container()
        self._stack.append(set())

    def _list(self, argument: None) -> None:
        elements = self._pop_to_mark()
        self._stack.append(elements)

    def _tuple(self, argument: None) -> None:
        elements = tuple(self._pop_to_mark())
        self._stack.append(elements)

    def _short_tuple(self, length: int) -> None:
        if len(self._stack) < length:
            raise pickle.UnpicklingError("a tuple of more than there is")
        self._stack[-length:] = [tuple(self._stack[-length:])]

    def _dict(self, argument: None) -> None:
        elements = self._pop_to_mark()
        self._stack.append({})
        self._set_items(_pairs(elements))

    def _frozenset(self, argument: None) -> None:
        elements = frozenset(checked_key(element) for element in self._pop_to_mark())
        self._stack.append(elements)

    def _append(self, argument: None) -> None:
        element = self._stack.pop()
        self._extend([element])

    def _appends(self, argument: None) -> None:
        self._extend(self._pop_to_mark())

    def _set_item(self, argument: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([(key, value)])

    def _set_marked_items(self, argument: None) -> None:
        self._set_items(_pairs(self._pop_to_mark()))

    def _add_items(self, argument: None) -> None:
        elements = self._pop_to_mark()
        target = self._stack[-1]
        if isinstance(target, set):
            target.update(checked_key(element) for element in elements)
        else:
            self._extend(elements)

    def _global(self, argument: str) -> None:
        # pickletools joins the two names by the one space that neither may hold.
        module, _, name = argument.partition(" ")
        self._stack.append(self._named(module, name))

    def _stack_global(self, argument: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._named(module, name))

    def _reduce(self, argument: None) -> None:
        arguments, target = self._stack.pop(), self._stack.pop()
        self._stack.append(self.call(target, arguments))

    def _new_object_with_keywords(self, argument: None) -> None:
        keywords, arguments, target = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append(self.call(target, arguments, keywords))

    def _object(self, argument: None) -> None:
        target, *arguments = self._pop_to_mark()
        self._stack.append(self.call(target, tuple(arguments)))

    def _instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        arguments = tuple(self._pop_to_mark())
        self._stack.append(self.call(self._named(module, name), arguments))

    def _build(self, argument: None) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Restorable):
            target.restore(state, self._budget)
        # Attributes of containers (such as the `_metadata` of state dicts) carry no weights, and would hide methods if they were set.
        elif not isinstance(target, (dict, list, set)):
            raise pickle.UnpicklingError(f"a {type(target).__name__} whose state is set")

    def _persistent_id(self, argument: str | None) -> None:
        identity = self._stack.pop() if argument is None else argument
        if self._persistent is None:
            raise pickle.UnpicklingError("a reference to something outside the pickle")
        self._stack.append(self._persistent(identity))

    def _nothing(self, argument: int) -> None:
        """Protocol and frames: the opcodes that follow say all."""


def _pairs(elements: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(elements[::2], elements[1::2], strict=True)


_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_STEPS: dict[str, Callable[[PickleMachine, Any], None]] = {
    "PROTO": PickleMachine._nothing,
    "FRAME": PickleMachine._nothing,
    "MARK": PickleMachine._mark,
    "POP": PickleMachine._pop,
    "POP_MARK": PickleMachine._pop_mark,
    "DUP": PickleMachine._duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), PickleMachine._put),
    "MEMOIZE": PickleMachine._memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), PickleMachine._get),
    "EMPTY_LIST": PickleMachine._empty_list,
    "EMPTY_DICT": PickleMachine._empty_dict,
    "EMPTY_SET": PickleMachine._empty_set,
    "LIST": PickleMachine._list,
    "TUPLE": PickleMachine._tuple,
    "TUPLE1": lambda machine, argument: machine._short_tuple(1),
    "TUPLE2": lambda machine, argument: machine._short_tuple(2),
    "TUPLE3": lambda machine, argument: machine._short_tuple(3),
    "DICT": PickleMachine._dict,
    "FROZENSET": PickleMachine._frozenset,
    "APPEND": PickleMachine._append,
    "APPENDS": PickleMachine._appends,
    "SETITEM": PickleMachine._set_item,
    "SETITEMS": PickleMachine._set_marked_items,
    "ADDITEMS": PickleMachine._add_items,
    "GLOBAL": PickleMachine._global,
    "STACK_GLOBAL": PickleMachine._stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), PickleMachine._reduce),
    "NEWOBJ_EX": PickleMachine._new_object_with_keywords,
    "OBJ": PickleMachine._object,
    "INST": PickleMachine._instance,
    "BUILD": PickleMachine._build,
    **dict.fromkeys(("PERSID", "BINPERSID"), PickleMachine._persistent_id),
}
