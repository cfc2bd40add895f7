"""Writes tests/golden/block_quant.bin: random blocks of each GGUF format and what gguf-py makes of them;
then u32 elements, f32 values and the blocks of Q8_0 that gguf-py makes of them.

For each format, little-endian: u32 number of the format in mm_tensor.h, u32 elements, u32 bytes, the bytes, the f32 values.
Every bit of the codes and of the packed 6-bit scales is random; f16 scales are finite, some negative, zero or subnormal.
Run with numpy and gguf installed: python3 tests/golden/make_block_quant.py
SPDX-License-Identifier: MIT
"""
import os
import struct

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

# format: number in mm_tensor.h, where its f16 scales stand in a block
FORMATS = {
    T.Q4_0: (32, [0]), T.Q4_1: (33, [0, 2]), T.Q5_0: (34, [0]), T.Q5_1: (35, [0, 2]), T.Q8_0: (36, [0]),
    T.Q4_K: (37, [0, 2]), T.Q5_K: (38, [0, 2]), T.Q6_K: (39, [208]),
    T.Q2_K: (40, [80, 82]), T.Q3_K: (41, [108]), T.IQ4_NL: (42, [0]),
}
ELEMENTS = 768

rng = np.random.default_rng(20)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "block_quant.bin"), "wb") as out:
    for kind, (number, scales) in FORMATS.items():
        size, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (ELEMENTS // size, block_bytes), dtype=np.uint8)
        for i, at in enumerate(scales):
            d = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
            d[0] = np.array([0x03FF - i], np.uint16).view(np.float16)[0]  # subnormal
            if len(d) > 4:
                d[1], d[2], d[3] = 0.0, -0.0, -65504.0
            blocks[:, at:at + 2] = d.view(np.uint8).reshape(-1, 2)
        values = dequantize(blocks.reshape(-1), kind).astype("<f4")
        assert values.size == ELEMENTS and np.isfinite(values).all()
        out.write(struct.pack("<III", number, ELEMENTS, blocks.size) + blocks.tobytes() + values.tobytes())
    values = (rng.normal(0, 1, 2048) * np.exp2(rng.integers(-20, 12, 64)).repeat(32)).astype("<f4")
    values[:32] = np.arange(32) + 0.5  # ties
    values[31] = -127
    values[32:64] = 0
    values[64:96] *= np.float32(1e-9)  # whose scale is 0 as f16
    values[96] = -0.0
    out.write(struct.pack("<I", values.size) + values.tobytes() + quantize(values, T.Q8_0).tobytes())
