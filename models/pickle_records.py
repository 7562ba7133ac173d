"""What reading a pickle safely rests on: inert stand-ins for objects of unknown classes, and a budget of memory and time."""

import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from numbers import Complex, Real
from typing import Any

# A checkpoint's pickle has tens of thousands. An opcode of one byte may make an object of 200: this bounds both memory and time.
MAX_OPCODES = 2_000_000
# Empty sets and dictionaries cost one byte of file and over 200 of memory.
MAX_CONTAINERS = 500_000
# Tuples within tuples are hashed and compared without a memory of what was seen: a key of a few dozen levels could take forever.
MAX_KEY_PARTS = 1_000
MAX_KEY_BITS = 60
# Bytes of protocol 2 are encoded from text and then read as a nested file: copied twice.
COPIES_PER_FILE_BYTE = 4
# Expanded tensors repeat their elements, and tied weights are stored once: both ask for more than the file's size.
TENSOR_BYTES_PER_FILE_BYTE = 16
TENSOR_BYTES_AT_LEAST = 64 * 2**20


class Budget:
    """What the reading of one file may use.

    Args:
        size: Bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._opcodes = MAX_OPCODES
        self._containers = MAX_CONTAINERS
        self._copies = COPIES_PER_FILE_BYTE * size
        self._stored = size
        self._tensors = TENSOR_BYTES_AT_LEAST + TENSOR_BYTES_PER_FILE_BYTE * size

    def opcode(self) -> None:
        """Count one opcode."""
        self._opcodes -= 1
        if self._opcodes < 0:
            raise pickle.UnpicklingError(f"a pickle of more than {MAX_OPCODES} steps")

    def container(self) -> None:
        """Count one list, dictionary, set or record."""
        self._containers -= 1
        if self._containers < 0:
            raise pickle.UnpicklingError(f"a pickle of more than {MAX_CONTAINERS} containers")

    def copy(self, elements: int) -> None:
        """Count elements or bytes that a call copies: honest pickles copy only what they have just listed."""
        self._copies -= elements
        if self._copies < 0:
            raise pickle.UnpicklingError("a pickle that copies more than it holds")

    def stored(self, count: int) -> None:
        """Count bytes that are said to be stored in the file."""
        self._stored -= count
        if self._stored < 0:
            raise pickle.UnpicklingError("storages larger than the file")

    def tensor(self, count: int) -> None:
        """Count the bytes that a tensor's elements take when it is copied."""
        self._tensors -= count
        if self._tensors < 0:
            raise pickle.UnpicklingError("tensors far larger than the file")


class Restorable(ABC):
    """An object whose state a pickle may set."""

    __slots__ = ()

    @abstractmethod
    def restore(self, state: Any, budget: Budget) -> None:
        """Take what the pickle says of the object."""


@dataclass(frozen=True, slots=True, repr=False)
class InertClass:
    """A class or function that a pickle names: equal to others of its name, and nothing else.

    Attributes:
        class_name: Full name, such as ``argparse.Namespace``.
    """

    class_name: str

    def __repr__(self) -> str:
        return f"<inert class {self.class_name}>"


@dataclass(eq=False, slots=True, repr=False)
class InertRecord(Restorable):
    """What a pickle says of an object whose class is unknown here, with no behaviour.

    Attributes:
        class_name: Full name of the class or function the pickle named, such as ``argparse.Namespace``.
        arguments: What it would have been called with.
        attributes: Its state, by name; a state that is no dictionary is kept under ``state``.
        entries: Items that the pickle sets on it, for subclasses of dict.
        elements: Elements that the pickle appends to it, for subclasses of list and set.
    """

    class_name: str
    arguments: tuple[Any, ...] = ()
    attributes: dict[Any, Any] = field(default_factory=dict)
    entries: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    def restore(self, state: Any, budget: Budget) -> None:
        """Keep the state; a pair of dictionaries is that of an object with slots."""
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, dict):
                budget.copy(len(part))
                self.attributes.update(part)
            elif part is not None:
                self.attributes["state"] = part

    def __repr__(self) -> str:
        return f"<inert {self.class_name}>"


def checked_key(key: Any) -> Any:
    """A key of a dictionary or an element of a set, which can be hashed and compared in little time.

    Raises:
        pickle.UnpicklingError: for tuples within tuples of too many parts, integers of over 60 bits and complex numbers.
    """
    pending, parts = [key], 0
    while pending:
        part = pending.pop()
        if isinstance(part, (tuple, frozenset)):
            parts += len(part)
            if parts > MAX_KEY_PARTS:
                raise pickle.UnpicklingError(f"a key of more than {MAX_KEY_PARTS} parts")
            pending.extend(part)
        # Python hashes text with a secret, but numbers by a rule: whoever knows it can write many keys of one hash.
        elif isinstance(part, int):
            if part.bit_length() > MAX_KEY_BITS:
                raise pickle.UnpicklingError(f"a key of more than {MAX_KEY_BITS} bits")
        elif isinstance(part, Complex) and not isinstance(part, Real):
            raise pickle.UnpicklingError("a complex number as key")
    return key
