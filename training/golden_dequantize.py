"""Writes what the gguf package makes of random blocks of every quantised type, for the test GgmlTypeTest.

Usage: python golden_dequantize.py OUT.json      (needs numpy, gguf)
"""

import base64
import json
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize

TYPES = [Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q4_K, Type.Q5_K, Type.Q6_K]


def main(out):
    random = np.random.default_rng(1)
    cases = []
    for kind in TYPES:
        size, length = GGML_QUANT_SIZES[kind]
        blocks = max(2, 64 // size)
        while True:
            data = random.integers(0, 256, blocks * length, dtype=np.uint8)
            if kind == Type.BF16:
                data[1::2] = data[1::2] & 0x80 | 0x3f
            values = dequantize(data, kind).astype(np.float32).ravel()
            # Random halves may be infinite; files hold none.
            if np.isfinite(values).all():
                break
        cases.append({
            "type": kind.name,
            "data": base64.b64encode(data.tobytes()).decode(),
            "values": base64.b64encode(values.astype("<f4").tobytes()).decode(),
        })
    with open(out, "w") as stream:
        json.dump(cases, stream, indent=1)
        stream.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
