"""Compare `mm tokenize` with the `tokenizers` package over lines of mixed text, made deterministically.

    python tests/golden/compare_tokenizers.py MODEL... [--mm build/mm] [--lines 100000] [--seed 1]

MODEL is what `mm tokenize` takes: a directory with tokenizer.json, a tokenizer.json or a .gguf file. The reference of a
GGUF file is SentencePiece itself for the model "llama", else built from its vocabulary and merges with the steps that the
family's own tokenizer.json has.
Exits with 1 when a line differs.
SPDX-License-Identifier: MIT
"""
import argparse
import glob
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
TEXTS = ["/usr/share/common-licenses/*", "/usr/share/doc/*/copyright", "/usr/share/perl/*/*.p[lm]", "/usr/lib/python3/dist-packages/*.py",
         "/usr/include/*.h", "/usr/share/i18n/locales/*", "*.md", "src/*/*.c", "tests/golden/tokenizers/torture.txt"]


def gguf_field(reader, key, default=None):
    field = reader.get_field(key)
    return default if field is None else field.contents()


class SentencePiece:
    """A SentencePiece BPE model rebuilt from a GGUF file, with the part of Tokenizer's interface that main needs."""

    def __init__(self, r, tokens, types, bos):
        from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
        m = sentencepiece_model_pb2.ModelProto()
        for token, kind, score in zip(tokens, types, gguf_field(r, "tokenizer.ggml.scores")):
            m.pieces.add(piece=token, type=kind, score=score)
        m.trainer_spec.model_type = m.trainer_spec.BPE
        m.trainer_spec.byte_fallback = True
        m.normalizer_spec.name = "identity"
        m.normalizer_spec.add_dummy_prefix = gguf_field(r, "tokenizer.ggml.add_space_prefix", True)
        m.normalizer_spec.remove_extra_whitespaces = False
        self.sp, self.bos = SentencePieceProcessor(model_proto=m.SerializeToString()), [bos]
        self.special = {token: i for i, (token, kind) in enumerate(zip(tokens, types)) if kind in (2, 3)}

    def encode(self, line):
        """Special tokens in the text are themselves, and what stands between them is a text each."""
        parts = re.split("(%s)" % "|".join(map(re.escape, self.special)), line)
        return sum(([self.special[p]] if p in self.special else self.sp.encode(p) for p in parts), self.bos)

    def encode_batch(self, lines):
        return [argparse.Namespace(ids=self.encode(line)) for line in lines]


def reference_from_gguf(path):
    from gguf import GGUFReader
    r = GGUFReader(path)
    tokens = gguf_field(r, "tokenizer.ggml.tokens")
    types = gguf_field(r, "tokenizer.ggml.token_type", [1] * len(tokens))
    model, pre = gguf_field(r, "tokenizer.ggml.model"), gguf_field(r, "tokenizer.ggml.pre", "default")
    ids = {n: gguf_field(r, "tokenizer.ggml.%s_token_id" % n) for n in ("bos", "eos", "unknown", "padding", "cls", "seperator", "mask")}
    if model == "llama":
        return SentencePiece(r, tokens, types, ids["bos"])
    if model == "bert":
        vocab = {}
        for i, t in enumerate(tokens):
            bracket = t.startswith("[") and t.endswith("]") and len(t) > 2
            vocab[t[1:] if t.startswith("\u2581") else t if bracket or types[i] != 1 else "##" + t] = i
        names = {i: t for t, i in vocab.items()}
        tok = Tokenizer(models.WordPiece(vocab, unk_token=names[ids["unknown"]], max_input_chars_per_word=100))
        tok.normalizer = normalizers.BertNormalizer()
        tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tok.add_special_tokens([names[i] for i in sorted({i for i in ids.values() if i is not None})])
        cls = ids["cls"] if ids["cls"] is not None else ids["bos"]
        sep = ids["seperator"] if ids["seperator"] is not None else ids["eos"]
        tok.post_processor = processors.BertProcessing((names[sep], sep), (names[cls], cls))
        return tok
    merges = [tuple(m.split(" ")) for m in gguf_field(r, "tokenizer.ggml.merges")]
    llama3 = pre in ("llama-bpe", "llama3", "llama-v3")
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, ignore_merges=llama3))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not llama3 and pre != "qwen2")
    first = {"smollm": [pre_tokenizers.Digits(individual_digits=True)], "qwen2": [pre_tokenizers.Split(Regex(QWEN2), "isolated")]}
    if llama3:
        first[pre] = [pre_tokenizers.Split(Regex(LLAMA3), "isolated")]
    elif pre not in ("smollm", "qwen2", "gpt-2", "default"):
        sys.exit("%s: no reference for tokenizer.ggml.pre %s" % (path, pre))
    tok.pre_tokenizer = pre_tokenizers.Sequence(first.get(pre, []) + [byte_level])
    if pre == "qwen2":
        tok.normalizer = normalizers.NFC()
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for i, t in enumerate(tokens) if types[i] in (2, 3)])
    tok.add_tokens([AddedToken(t, normalized=False) for i, t in enumerate(tokens) if types[i] == 4])
    if gguf_field(r, "tokenizer.ggml.add_bos_token", llama3):
        bos = tokens[ids["bos"]]
        tok.post_processor = processors.TemplateProcessing(single=bos + " $A", special_tokens=[(bos, ids["bos"])])
    return tok


def reference(path):
    if path.endswith(".gguf"):
        return reference_from_gguf(path)
    tok = Tokenizer.from_file(os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path)
    tok.no_truncation()
    tok.no_padding()
    return tok


def blocks():
    """Runs of code points of one script or purpose."""
    out = [range(a, min(a + 0x80, 0x110000)) for a in range(0, 0x20000, 0x80)]
    out += [range(a, a + 0x100) for a in (0x20000, 0x2A700, 0x2B700, 0x2CEB0, 0x2EBF0, 0x2F800, 0x30000, 0x31350, 0x323A0, 0xE0000, 0xE0100, 0xF0000,
                                          0x10FF00)]
    return [b for b in out if not 0xD800 <= b[0] < 0xE000]


def real_lines():
    lines = []
    for pattern in TEXTS:
        for path in sorted(glob.glob(pattern))[:400]:
            try:
                with open(path, "rb") as f:
                    lines += f.read(200000).decode("utf-8", "replace").split("\n")
            except OSError:
                continue
    return lines or ["no text files were found on this machine"]


def make_lines(count, seed):
    rng = random.Random(seed)
    scripts, real = blocks(), real_lines()
    marks = [c for c in range(0x300, 0x1E950) if unicodedata.combining(chr(c)) or unicodedata.category(chr(c)) in ("Mn", "Mc", "Me")]
    spaces = " \t\r\x0b\x0c\x85\xa0\u1680\u180e\u2000\u2003\u2009\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u3000\ufeff"
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>", "</s>", "<|eot_id|>", "<|im_", "[unused1]",
               "<mask>", "<image>"]
    digits = [c for c in range(0x30, 0x20000) if unicodedata.category(chr(c)) in ("Nd", "Nl", "No")]
    emoji = ["👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "👍🏽", "🇫🇷", "1️⃣", "❤️", "🧑🏿\u200d🚀", "\U0001FAE8", "\U0001FAE9"]
    contractions = ["I'm", "don't", "we'll", "they'Ve", "he'D", "it'S", "o'clock", "'re", "'ſ", "'LL"]

    def any_text(n):
        block = rng.choice(scripts)
        return "".join(chr(rng.choice(block)) for _ in range(n))

    def piece():
        kind = rng.randrange(15)
        if kind == 0:
            return any_text(rng.randint(1, 12))
        if kind == 1:
            return "".join(rng.choice(spaces) for _ in range(rng.randint(1, 6)))
        if kind == 2:
            return "".join(chr(rng.choice(digits)) for _ in range(rng.randint(1, 9)))
        if kind == 3:
            return rng.choice("aeinouAEINOUyYçß") + "".join(chr(rng.choice(marks)) for _ in range(rng.randint(1, 4)))
        if kind == 4:
            return rng.choice(emoji)
        if kind == 5:
            return rng.choice(contractions)
        if kind == 6:
            return rng.choice(special)
        if kind == 7:
            return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randint(1, 6)))
        if kind == 8:
            return "".join(chr(rng.randrange(0xAC00, 0xD7B0)) for _ in range(rng.randint(1, 5)))
        if kind == 9:
            return "".join(chr(rng.randrange(0x4E00, 0xA000)) for _ in range(rng.randint(1, 6)))
        if kind == 10:
            return str(rng.randrange(10 ** rng.randint(1, 12)))
        if kind == 11:
            return "".join(chr(rng.randrange(0x20, 0x7F)) for _ in range(rng.randint(1, 20)))
        if kind == 12:
            c = rng.randrange(0x110000)
            return chr(c) if not 0xD800 <= c < 0xE000 else ""
        return rng.choice(rng.choice(real).split(" "))

    for i in range(count):
        kind = rng.randrange(10)
        if kind < 4:
            line = rng.choice(real)
        elif kind < 9:
            line = rng.choice(["", " "]).join(piece() for _ in range(rng.randint(0, 12)))
        else:
            line = any_text(rng.randint(1, 60))
        if i % 5000 == 77:
            line = line.replace(" ", "") * rng.randint(1, 400)
        yield line.replace("\n", "")[:20000]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("models", nargs="+")
    p.add_argument("--mm", default="build/mm")
    p.add_argument("--lines", type=int, default=100000)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    lines = list(make_lines(args.lines, args.seed))
    size = sum(len(l.encode()) for l in lines)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "lines.txt")
        with open(text, "wb") as f:
            f.write(("\n".join(lines) + "\n").encode())
        for model in args.models:
            expected = [e.ids for e in reference(model).encode_batch(lines)]
            run = subprocess.run(args.mm.split() + (["tokenize"] if os.path.basename(args.mm) == "mm" else []) + [model, "--text-file", text],
                                 stdout=subprocess.PIPE, check=True)
            got = [json.loads(l) for l in run.stdout.decode().splitlines()]
            if len(got) != len(lines):
                print("%s: %d lines came out of %d" % (model, len(got), len(lines)))
                failed = 1
                continue
            bad = [i for i in range(len(lines)) if got[i] != expected[i]]
            print("%s: %d of %d lines (%.1f MB, %d ids) differ" % (model, len(bad), len(lines), size / 1e6, sum(map(len, expected))))
            for i in bad[:10]:
                print("  line %d %a\n    expected %s\n    got      %s" % (i + 1, lines[i][:200], expected[i][:60], got[i][:60] if isinstance(got[i], list) else got[i]))
            failed |= bool(bad)
    sys.exit(failed)


if __name__ == "__main__":
    main()
