"""Reads GGUF files; needs numpy alone."""

import math
import struct

import numpy as np

ALIGNMENT = 32
Q4_1, Q8_0, F32 = 3, 8, 0
BLOCK_BYTES = {Q4_1: 20, Q8_0: 34}


def read_gguf(path, arrays=False):
    """Metadata (with arrays only if asked for), and tensors as (type, shape outermost first, raw bytes)."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    at = 0

    def take(form):
        nonlocal at
        size = struct.calcsize(form)
        values = struct.unpack(form, data[at:at + size].tobytes())
        at += size
        return values

    def text():
        nonlocal at
        (n,) = take("<Q")
        at += n
        return data[at - n:at].tobytes().decode("utf-8")

    scalar = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            element, n = take("<IQ")
            return [value(element) for _ in range(n)]
        return take(scalar[kind])[0]

    magic, _, tensor_count, key_count = take("<4sIQQ")
    if magic != b"GGUF":
        raise ValueError(f"{path} is no GGUF file")
    metadata = {}
    for _ in range(key_count):
        key = text()
        metadata[key] = value(take("<I")[0])
    entries = []
    for _ in range(tensor_count):
        name = text()
        (dimensions,) = take("<I")
        shape = take(f"<{dimensions}Q")
        entries.append((name, tuple(reversed(shape)), *take("<IQ")))
    alignment = metadata.get("general.alignment", ALIGNMENT)
    start = (at + alignment - 1) // alignment * alignment
    tensors = {}
    for name, shape, kind, offset in entries:
        count = math.prod(shape)
        size = count * 4 if kind == F32 else count // 32 * BLOCK_BYTES[kind]
        tensors[name] = (kind, shape, data[start + offset:start + offset + size])
    return {k: v for k, v in metadata.items() if arrays or not isinstance(v, list)}, tensors
