"""Write tests/golden/formats/: small files by the reference packages, and what those packages say of odd inputs.

Needs gguf, safetensors, tokenizers, torch, transformers. Run from the top of the repository:
    python3 tests/golden/make_formats.py
The values follow formulas that the tests repeat. SPDX-License-Identifier: MIT"""
import json
import pathlib
import shutil
import struct

import gguf
import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import tokenizers
import torch
import transformers

OUT = pathlib.Path("tests/golden/formats")


def bytes_of(n, seed):
    return np.array([(i * 7 + seed) & 255 for i in range(n)], np.uint8)


def make_gguf():
    w = gguf.GGUFWriter(OUT / "tiny.gguf", "tiny")
    w.add_uint8("t.u8", 200)
    w.add_int8("t.i8", -100)
    w.add_uint16("t.u16", 60000)
    w.add_int16("t.i16", -30000)
    w.add_uint32("t.u32", 4000000000)
    w.add_int32("t.i32", -2000000000)
    w.add_uint64("t.u64", 2**64 - 1)
    w.add_int64("t.i64", -(2**63))
    w.add_float32("t.f32", 0.1)
    w.add_float64("t.f64", 0.1)
    w.add_bool("t.true", True)
    w.add_bool("t.false", False)
    w.add_string("t.string", "Grüße, 世界 🌍")
    w.add_string("t.empty", "x")  # the writer leaves out what is empty
    w.add_array("t.strings", ["a", "", "ß", "x" * 300])
    w.add_array("t.ints", [1, -2, 3])
    w.add_array("t.floats", [0.5, -1.5])
    w.add_array("t.bools", [True, False, True])
    w.add_array("t.bytes", b"\x00\x7f\x80\xff")
    types = gguf.GGMLQuantizationType
    w.add_tensor("f32", np.arange(6, dtype=np.float32).reshape(2, 3) * 0.5 - 1)
    w.add_tensor("f16", np.arange(8, dtype=np.float16).reshape(2, 2, 2))
    w.add_tensor("i32", np.array([1, -1, 2**31 - 1], np.int32))
    w.add_tensor("i64", np.array([-(2**63)], np.int64))
    w.add_tensor("i8", np.array([1, -2, 3], np.int8))  # a type that libmm does not read
    for seed, (name, block_bytes) in enumerate(
        [("Q4_0", 18), ("Q4_1", 20), ("Q5_0", 22), ("Q5_1", 24), ("Q8_0", 34), ("Q4_K", 144), ("Q5_K", 176), ("Q6_K", 210), ("BF16", 2),
         ("Q2_K", 84), ("Q3_K", 110), ("IQ4_NL", 18)]
    ):
        w.add_tensor(name.lower(), bytes_of(2 * block_bytes, seed).reshape(2, block_bytes), raw_dtype=types[name])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

    w = gguf.GGUFWriter(OUT / "aligned.gguf", "tiny")
    w.add_custom_alignment(64)
    w.add_tensor("a", np.ones(1, np.float32))
    w.add_tensor("b", np.full(1, 2, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

    w = gguf.GGUFWriter(OUT / "big_endian.gguf", "tiny", endianess=gguf.GGUFEndian.BIG)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make_safetensors():
    safetensors.torch.save_file(
        {
            "f32": torch.arange(6, dtype=torch.float32).reshape(2, 3) * 0.5 - 1,
            "f16": torch.arange(4, dtype=torch.float16),
            "bf16": torch.arange(4, dtype=torch.bfloat16).reshape(1, 2, 2),
            "i32": torch.tensor([1, -1, 2**31 - 1], dtype=torch.int32),
            "i64": torch.tensor([-(2**63)], dtype=torch.int64),
            "u8": torch.tensor([0, 255, 7], dtype=torch.uint8),
            "bool": torch.tensor([True, False, True]),
            "f64": torch.tensor(0.1, dtype=torch.float64),
            "f8": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn),
            "empty": torch.zeros(3, 0, 2),
            "größe \"\\\n": torch.tensor(2.5),
        },
        OUT / "tiny.safetensors",
        metadata={"format": "pt", "note": "\u00e9\n"},
    )
    # What mmi_safetensors_write must produce byte for byte: the reference orders by type, then by name.
    safetensors.numpy.save_file(
        {
            "a": np.array([-1, 2**40], np.int64),
            "b": np.arange(6, dtype=np.float32).reshape(2, 3) * 0.5 - 1,
            "c \"\\\n\x01é": np.array(3, np.float32),
            "d": np.array([1, -1], np.int32),
            "e": np.arange(3, dtype=np.float16),
            "f": np.zeros((0, 5), np.uint8),
            "g": np.array([0, 255, 7], np.uint8),
        },
        OUT / "written.safetensors",
        metadata={"format": "pt"},
    )


def tensor(dtype, shape, begin, end, **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def safetensors_cases():
    """Name, header, bytes of data."""
    one = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    yield "nothing", {}, 0
    yield "space before", b" {}", 0
    yield "space behind", b"{} \n\t", 0
    yield "NUL behind", b"{}\0", 0
    yield "garbage behind", b"{}x", 0
    yield "array", b"[]", 0
    yield "malformed UTF-8", b'{"\xff":' + one.encode() + b"}", 1
    yield "UTF-8 of a surrogate", b'{"\xed\xa0\x80":' + one.encode() + b"}", 1
    yield "half a surrogate pair", ('{"\\ud800":%s}' % one).encode(), 1
    yield "name with an escaped NUL", ('{"a\\u0000b":%s}' % one).encode(), 1
    yield "name twice", ('{"a":%s,"a":%s}' % (one, one)).encode(), 1
    yield "empty name", {"": tensor("U8", [1], 0, 1)}, 1
    yield "unknown field", {"a": tensor("U8", [1], 0, 1, more=[{}])}, 1
    yield "field twice", b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1
    yield "tensor as a list", b'{"a":["U8",[1],[0,1]]}', 1
    yield "tensor null", {"a": None}, 0
    yield "tensor a number", {"a": 3}, 0
    yield "tensor empty", {"a": {}}, 0
    for key in ("dtype", "shape", "data_offsets"):
        t = tensor("U8", [1], 0, 1)
        del t[key]
        yield "without " + key, {"a": t}, 1
        for wrong in (None, 1, "x", {}, [None], ["x"], [[1]], [-1], [0.5], [1e300], [True]):
            yield f"{key} {wrong!r}", {"a": dict(tensor("U8", [1], 0, 1), **{key: wrong})}, 1
    yield "size 2^53+1", {"a": tensor("U8", [2**53 + 1], 0, 2**53 + 1)}, 1
    yield "size 2^64", {"a": tensor("U8", [2**64], 0, 1)}, 1
    yield "product wraps to 0", {"a": tensor("U8", [2**32, 2**32], 0, 0)}, 0
    yield "product wraps to 1", {"a": tensor("U8", [(2**32 + 1), 4294967297 - 2], 0, 1)}, 1
    yield "bytes wrap", {"a": tensor("F32", [2**31, 2**31], 0, 0)}, 0
    yield "zero after a product that wraps", {"a": tensor("U8", [2**40, 2**40, 0], 0, 0)}, 0
    yield "zero before", {"a": tensor("U8", [0, 2**40, 2**40], 0, 0)}, 0
    yield "offsets reversed", {"a": tensor("U8", [1], 1, 0)}, 1
    yield "one offset", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', 1
    yield "three offsets", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', 1
    yield "past the end", {"a": tensor("U8", [2], 0, 2)}, 1
    yield "far past the end", {"a": tensor("U8", [2**50], 0, 2**50)}, 1
    yield "shorter than its shape", {"a": tensor("F32", [2], 0, 4)}, 4
    yield "longer than its shape", {"a": tensor("F32", [1], 0, 8)}, 8
    yield "same bytes twice", {"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 0, 4)}, 4
    yield "overlap", {"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 3, 7)}, 7
    yield "inside another", {"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [1], 1, 2)}, 4
    yield "hole", {"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 3, 5)}, 5
    yield "hole in front", {"a": tensor("U8", [2], 1, 3)}, 3
    yield "bytes behind", {"a": tensor("U8", [2], 0, 2)}, 3
    yield "out of order", {"b": tensor("U8", [2], 2, 4), "a": tensor("U8", [2], 0, 2)}, 4
    yield "empty between", {"b": tensor("U8", [2], 2, 4), "z": tensor("U8", [0], 2, 2), "a": tensor("U8", [2], 0, 2)}, 4
    yield "empty inside another", {"z": tensor("U8", [0], 1, 1), "a": tensor("U8", [2], 0, 2)}, 2
    yield "empty at the end", {"a": tensor("U8", [2], 0, 2), "z": tensor("U8", [0], 2, 2)}, 2
    yield "dtype in lower case", {"a": tensor("f32", [1], 0, 4)}, 4
    yield "metadata", {"__metadata__": {"a": "b"}}, 0
    yield "metadata null", {"__metadata__": None}, 0
    yield "metadata number", {"__metadata__": {"a": 1}}, 0
    yield "metadata string", {"__metadata__": "a"}, 0
    yield "metadata twice", b'{"__metadata__":{},"__metadata__":{}}', 0
    for name, bits in {
        "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64,
        "U64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    }.items():
        yield "dtype " + name, {"a": tensor(name, [8], 0, bits)}, bits
    yield "half a byte", {"a": tensor("F4", [3], 0, 2)}, 2
    yield "half a byte left out", {"a": tensor("F4", [3], 0, 1)}, 1
    yield "rank 8", {"a": tensor("U8", [1] * 8, 0, 1)}, 1
    yield "rank 9", {"a": tensor("U8", [1] * 9, 0, 1)}, 1
    yield "deep nesting", b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", 0


def make_safetensors_verdicts():
    """One line a case: name, what the reference says, the file in hexadecimal."""
    lines = []

    def add(name, data):
        try:
            safetensors.deserialize(data)
            verdict = "good"
        except safetensors.SafetensorError:
            verdict = "bad"
        lines.append([name, verdict, data.hex()])

    for name, header, n in safetensors_cases():
        if not isinstance(header, bytes):
            header = json.dumps(header, separators=(",", ":")).encode()
        add(name, struct.pack("<Q", len(header)) + header + bytes(n))
    for name, length in [("2^64-1", 2**64 - 1), ("2^64-8", 2**64 - 8), ("2^63", 2**63), ("100000001", 100000001), ("3", 3), ("1", 1), ("0", 0)]:
        add("header length " + name, struct.pack("<Q", length) + b"{}")
    (OUT / "safetensors_verdicts.json").write_text("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n")


def dump(value):
    """Unambiguous text of a parsed document: strings in hexadecimal, numbers as C's %.17g."""
    if value is None or isinstance(value, bool):
        return {None: "n", True: "t", False: "f"}[value]
    if isinstance(value, (int, float)):
        return "%.17g" % value
    if isinstance(value, str):
        return "s" + value.encode().hex()
    if isinstance(value, list):
        return "[" + " ".join(dump(v) for v in value) + "]"
    return "{" + " ".join(k.encode().hex() + ":" + dump(v) for k, v in value.items()) + "}"


JSON_CASES = [
    b"null", b"true", b" false ", b"0", b"-0.0", b"-1", b"12345678901234567890", b"9007199254740993", b"1e5", b"1E+5", b"-1.5e-3", b"0.1", b"1e308",
    b"5e-324", b"1e-400", b"1000000000000000019884624838656", b'""', b'"a"', b"[]", b"{}", b"[ ]", b"{ }", b"[1]", b"[1,2,[3,[]],{}]",
    b'{"a":1}', b'{"a":{"b":[null,true,false]},"c":"d"}', b'{"a":1,"a":2}', b'{"a":1,"A":2}', b'{"":0}', b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', b'"\\u0041\\u00e9\\u4e16"',
    b'"\\ud83c\\udf0d"', b'"\\uD83C\\uDF0D\\u0001"', '"é世🌍\x7f\u2028"'.encode(), b"\t\n\r [\t1\n,\r2 ]\t", b'"' + b"x" * 200 + b'"', b"[" * 64 + b"]" * 64,
    # and what is no JSON
    b"", b" ", b"nul", b"nulll", b"True", b"+1", b"01", b"-", b"-a", b"1.", b".5", b"1e", b"1e+", b"0x1", b"1 2", b"--1", b"1.2.3", b'"', b'"a', b"'a'", b'"\\',
    b'"\\a"', b'"\\u12"', b'"\\u12g4"', b'"\\u 123"', b'"\n"', b'"\t"', b'"\0"', b"\0", b"[", b"]", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b"[}", b"{", b"}", b"{]",
    b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}', b"{1:2}", b'{"a" 1}', b'{"a":1 "b":2}', b'{,"a":1}', b"{a:1}", b"[1]x", b"{}{}", b"[]]", b"\xef\xbb\xbf[]",
    b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b"/**/1", b"[1]//", b"\x0b1", b"\xc2\xa01",
]


def make_json_verdicts():
    """[text in hexadecimal, what Python reads, or null for what it refuses]."""
    lines = []
    for text in JSON_CASES:
        try:
            parsed = dump(json.loads(text.decode()))
        except ValueError:
            parsed = None
        lines.append([text.hex(), parsed])
    (OUT / "json_verdicts.json").write_text("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n")


def make_hf_directory():
    for folder in ("hf_bert", "hf_bert_sharded"):
        shutil.rmtree(OUT / folder, ignore_errors=True)
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, max_position_embeddings=4, dtype="float16"
    )
    model = transformers.BertModel(config).half()
    with torch.no_grad():
        for number, (_, p) in enumerate(sorted(model.named_parameters())):
            p.copy_((torch.arange(p.numel()).reshape(p.shape) + number) / 16)
    model.save_pretrained(OUT / "hf_bert")
    model.save_pretrained(OUT / "hf_bert_sharded", max_shard_size=300)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "[PAD]": 1, "a": 2, "b": 3}, "[UNK]"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(OUT / "hf_bert")
    # As sentence-transformers writes a model of three steps.
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (OUT / "hf_bert/modules.json").write_text(
        json.dumps([{"idx": i, "name": str(i), "path": p, "type": "sentence_transformers.models." + t} for i, (p, t) in enumerate(steps)], indent=2)
    )
    (OUT / "hf_bert/1_Pooling").mkdir()
    (OUT / "hf_bert/1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True}, indent=2))


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    OUT.mkdir(exist_ok=True)
    make_gguf()
    make_safetensors()
    make_safetensors_verdicts()
    make_json_verdicts()
    make_hf_directory()
