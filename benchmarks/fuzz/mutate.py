"""Seeded mutations of bytes, archives, pickles and JSON."""

import io
import itertools
import json
import pickletools
import random
import struct
import zipfile
from typing import Any

_INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1)
_VALUES = (None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, -1e308, float("nan"), float("inf"), "", "ä\0\n", "9" * 300, [], {})
# What a hostile pickle asks for: each would leave a trace if anything were run.
PAYLOADS = (
    b"cos\nsystem\n(X\x0b\0\0\0touch tracetR",
    b"c__builtin__\nexec\n(X\x10\0\0\0open('trace','w')tR",
    b"(X\x0b\0\0\0touch traceios\nsystem\n",
    b"\x8c\x05posix\x8c\x05mkdir\x93\x8c\x05trace\x85R",
    b"csubprocess\nPopen\n((X\x05\0\0\0touchX\x05\0\0\0traceltR",
    b"cos\nmkdir\nX\x05\0\0\0trace\x85\x81",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR",
    b"cshutil\nrmtree\nX\x01\0\0\0.\x85R}X\x01\0\0\0aNsb",
    b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nNX\x0b\0\0\0touch trace\x85NtR",
)


def mutate_bytes(dice: random.Random, seed: bytes) -> bytes:
    """Returns `seed` with one to eight changes: bits, numbers, pieces lost, doubled or moved, a cut."""
    data = bytearray(seed)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        size = len(data)
        start = dice.randrange(size + 1)
        length = min(dice.choice((1, 2, 4, 8, 64, 1000, 100_000)), size - start)
        match dice.randrange(8):
            case 0 | 1 if size:
                data[dice.randrange(size)] ^= 1 << dice.randrange(8)
            case 2:
                number = dice.choice(_INTEGERS).to_bytes(8, dice.choice(("little", "big")))
                width = dice.choice((1, 2, 4, 8))
                data[start : start + width] = number[:width]
            case 3:
                del data[start : start + length]
            case 4:
                data[start:start] = data[start : start + length] * dice.choice((1, 1, 2, 30))
            case 5:
                data[start : start + length] = dice.randbytes(length)
            case 6:
                piece = data[start : start + length]
                place = dice.randrange(size + 1)
                data[place : place + length] = piece
            case 7:
                del data[start:]
    return bytes(data)


def mutate_header(dice: random.Random, seed: bytes, length: int = 2000) -> bytes:
    """Changes the first bytes of a file, where its structure is."""
    return mutate_bytes(dice, seed[:length]) + seed[length:]


def mutate_zip(dice: random.Random, seed: bytes, entry_mutation) -> bytes:
    """Changes an entry of an archive, and sometimes the archive itself; checksums are right again."""
    with zipfile.ZipFile(io.BytesIO(seed)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = dice.choice([*entries, *[name for name in entries if name.endswith((".pkl", ".json", ".npy"))][:1] * len(entries)])
    match dice.randrange(12):
        case 0:
            del entries[name]
        case 1:
            entries[dice.choice(("a/data.pkl", "../x", name + "x", "data.pkl", "constants.pkl", "/"))] = entries.pop(name)
        case 2:
            entries[f"{name}.copy"] = entries[name]
        case _:
            entries[name] = entry_mutation(dice, name, entries[name])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", dice.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))) as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    return content.getvalue() if dice.random() < 0.9 else mutate_bytes(dice, content.getvalue())


def mutate_pickle(dice: random.Random, seed: bytes) -> bytes:
    """Drops, doubles, swaps or inserts instructions of a pickle, or hostile calls."""
    places = [place for _, _, place in pickletools.genops(seed)] + [len(seed)]
    parts = [seed[start:end] for start, end in itertools.pairwise(places)]
    for _ in range(dice.choice((1, 1, 2, 5))):
        i, j = dice.randrange(len(parts)), dice.randrange(len(parts))
        match dice.randrange(6):
            case 0:
                del parts[i]
                parts = parts or [b"."]
            case 1:
                parts.insert(i, parts[j])
            case 2:
                parts[i], parts[j] = parts[j], parts[i]
            case 3:
                parts.insert(i, dice.choice(PAYLOADS))
            case 4:
                parts[i] = mutate_bytes(dice, parts[i])
            case 5:
                parts[i : i + 1] = [parts[i]] * dice.choice((2, 50, 1000))
    return b"".join(parts)


def mutate_json(dice: random.Random, value: Any) -> Any:
    """Returns a JSON value with one node replaced, dropped, nested or renamed."""
    if isinstance(value, dict | list) and value and dice.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        copy, key = (dict(value) if isinstance(value, dict) else list(value)), dice.choice(keys)
        match dice.randrange(8):
            case 0:
                del copy[key]
            case 1 if isinstance(copy, dict):
                copy[dice.choice(("", "x" * 2000, "ä", key + "x"))] = copy[key]
            case _:
                copy[key] = mutate_json(dice, copy[key])
        return copy
    return [[value]] if dice.random() < 0.1 else dice.choice((*_VALUES, [value] * 50))


def mutate_json_bytes(dice: random.Random, seed: bytes) -> bytes:
    """The same of a text, or of its bytes."""
    if dice.random() < 0.3:
        return mutate_bytes(dice, seed)
    value = json.loads(seed)
    for _ in range(dice.choice((1, 1, 2, 4))):
        value = mutate_json(dice, value)
    text = json.dumps(value, ensure_ascii=dice.random() < 0.5)
    return text.encode("utf-16" if dice.random() < 0.03 else "utf-8", "surrogatepass")


def mutate_safetensors(dice: random.Random, seed: bytes) -> bytes:
    """Changes the header of a .safetensors file and writes its right length before it."""
    length = int.from_bytes(seed[:8], "little")
    header = mutate_json_bytes(dice, seed[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + seed[8 + length :]
