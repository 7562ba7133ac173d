"""Damage to files, by seed: the same seed damages the same content in the same way."""

import io
import struct
import zipfile
from collections.abc import Callable, Sequence

import numpy as np

# Numbers that readers of sizes, offsets and counts go wrong at.
_NUMBERS = (0, 1, 2, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
# Headers and directories are here; what lies between is mostly numbers that no reader looks at.
_ENDS = 2048

Rng = np.random.Generator


def _place(content: bytes, rng: Rng, length: int = 1) -> int:
    """Where to do damage: half of the time near an end of the file."""
    last = max(len(content) - length, 0)
    where = rng.integers(4)
    if where == 0:
        return int(rng.integers(min(last, _ENDS) + 1))
    if where == 1:
        return int(rng.integers(max(last - _ENDS, 0), last + 1))
    return int(rng.integers(last + 1))


def _run(content: bytes, rng: Rng) -> tuple[int, int]:
    """A run of bytes, short more often than long."""
    length = min(int(2 ** rng.uniform(0, np.log2(len(content) + 1))), len(content))
    start = _place(content, rng, length)
    return start, start + length


def flip_bits(content: bytes, rng: Rng) -> bytes:
    """Flip one bit, or some tens."""
    changed = bytearray(content)
    for _ in range(1 if rng.random() < 0.5 else int(rng.integers(2, 64))):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite_run(content: bytes, rng: Rng) -> bytes:
    """Put random bytes in the place of some."""
    start, end = _run(content, rng)
    return content[:start] + rng.bytes(end - start) + content[end:]


def fill_run(content: bytes, rng: Rng) -> bytes:
    """Put zeros, ones or spaces in the place of some."""
    start, end = _run(content, rng)
    return content[:start] + bytes([(0, 255, 32)[rng.integers(3)]]) * (end - start) + content[end:]


def truncate(content: bytes, rng: Rng) -> bytes:
    """Cut the end off."""
    return content[: _place(content, rng)]


def duplicate_run(content: bytes, rng: Rng) -> bytes:
    """Repeat some bytes, or the whole file."""
    start, end = (0, len(content)) if rng.random() < 0.1 else _run(content, rng)
    return content[:end] + content[start:end] + content[end:]


def insert_run(content: bytes, rng: Rng) -> bytes:
    """Insert random bytes."""
    start = _place(content, rng)
    return content[:start] + rng.bytes(int(2 ** rng.uniform(0, 12))) + content[start:]


def delete_run(content: bytes, rng: Rng) -> bytes:
    """Leave some bytes out."""
    start, end = _run(content, rng)
    return content[:start] + content[end:]


def move_run(content: bytes, rng: Rng) -> bytes:
    """Move some bytes to another place."""
    start, end = _run(content, rng)
    rest = content[:start] + content[end:]
    target = _place(rest, rng)
    return rest[:target] + content[start:end] + rest[target:]


def put_number(content: bytes, rng: Rng) -> bytes:
    """Put a number that is special to binary formats somewhere, in 1 to 8 bytes of either order."""
    number, size = _NUMBERS[rng.integers(len(_NUMBERS))], 2 ** int(rng.integers(4))
    packed = struct.pack("<Q", number)[:size]
    start = _place(content, rng, size)
    return content[:start] + (packed if rng.random() < 0.7 else packed[::-1]) + content[start + size :]


def change_digits(content: bytes, rng: Rng) -> bytes:
    """Change digits of the text in the file, such as sizes in headers."""
    places = [place for place, byte in enumerate(content[: 64 * _ENDS]) if 48 <= byte <= 57]
    if not places:
        return flip_bits(content, rng)
    changed = bytearray(content)
    for place in rng.choice(places, size=min(len(places), int(rng.integers(1, 4)))):
        changed[place] = int(b"0123456789-.eE"[rng.integers(14)])
    return bytes(changed)


def inside_zip(content: bytes, rng: Rng, damage: Callable[[bytes, Rng], bytes]) -> bytes:
    """Damage one record of a zip archive and write the archive anew, so that its checksums hold."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        names = source.namelist()
        # The record that says what the others are is the likeliest to lead a reader astray.
        programs = [name for name in names if name.endswith(".pkl")]
        chosen = programs[0] if programs and rng.random() < 0.5 else names[rng.integers(len(names))]
        for name in names:
            record = source.read(name)
            target.writestr(source.getinfo(name), damage(record, rng) if name == chosen and record else record)
    return written.getvalue()


_DAMAGE: tuple[Callable[[bytes, Rng], bytes], ...] = (
    flip_bits,
    overwrite_run,
    fill_run,
    truncate,
    duplicate_run,
    insert_run,
    delete_run,
    move_run,
    put_number,
    change_digits,
)


def mutate(content: bytes, seed: int, others: Sequence[bytes] = ()) -> bytes:
    """Damaged content.

    Args:
        content: Of a whole file.
        seed: Which damage.
        others: Contents of files of other kinds, one of which a twentieth of the seeds gives instead.
    """
    rng = np.random.default_rng(seed)
    if others and rng.random() < 0.05:
        return others[rng.integers(len(others))]
    damage = _DAMAGE[rng.integers(len(_DAMAGE))]
    if content.startswith(b"PK\x03\x04") and rng.random() < 0.7:
        return inside_zip(content, rng, damage)
    return damage(content, rng)
