"""Compare libmm's tokenizer trainers with those of the `tokenizers` package on texts of your own, and open what libmm wrote with both.

    PYTHONPATH=lib/python python tests/golden/compare_tokenizer_training.py FILE... [--sizes 1000,8000]

Needs tokenizers 0.23 and transformers 5. BPE and WordPiece must give the same vocabularies and merges; Unigram the same pieces with the same scores, but
for the characters that no piece was left of: the package gives them scores in the order of a hash map. Exits with 1 when something differs.
SPDX-License-Identifier: MIT
"""
import argparse
import json
import os
import sys
import tempfile
import time

import libmm
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

BYTES, METASPACE, BERT = pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Metaspace(), pre_tokenizers.BertPreTokenizer()
failed = False


def check(what, same, note=""):
    global failed
    failed |= not same
    print(f"{'same' if same else 'DIFFERENT':9}  {what}  {note}")


def theirs(lines, model, pre_tokenizer, normalizer, trainer):
    t = Tokenizer(model)
    t.pre_tokenizer = pre_tokenizer
    if normalizer:
        t.normalizer = normalizer
    begin = time.time()
    t.train_from_iterator(lines, trainer)
    return json.loads(t.to_str())["model"], time.time() - begin


def ours(files, lines, folder, **options):
    """The model in the file that libmm wrote, once the package, transformers and libmm gave the same ids with it."""
    begin = time.time()
    trainer = libmm.TokenizerTrainer(**options)
    for path in files:
        trainer.add_file(path)
    made = trainer.train(folder)
    seconds = time.time() - begin
    package, auto = Tokenizer.from_file(os.path.join(folder, "tokenizer.json")), AutoTokenizer.from_pretrained(folder)
    step = max(1, len(lines) // 2000)
    wrong = [line for line in lines[::step] if not made.encode(line) == package.encode(line).ids == auto(line)["input_ids"]]
    check(f"ids of {len(lines[::step])} lines with {options}", not wrong, wrong[:1])
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        return json.load(f)["model"], seconds


def bpe(files, lines, folder, size):
    a, slow = theirs(lines, models.BPE(), BYTES, None, trainers.BpeTrainer(vocab_size=size, special_tokens=["<s>"], show_progress=False,
                                                                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    b, fast = ours(files, lines, folder, model="bpe", vocab_size=size, special_tokens=["<s>"])
    check(f"BPE of {size}", a["vocab"] == b["vocab"] and a["merges"] == b["merges"], f"{slow:.2f} s and {fast:.2f} s")


def word_piece(files, lines, folder, size):
    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    words = {w for line in lines for w, _ in BERT.pre_tokenize_str(normalizer.normalize_str(line))}
    first, inner = sorted({c for w in words for c in w} - {"\0"}), sorted({c for w in words for c in w[1:]} - {"\0"})
    special = ["[UNK]", *first, *("##" + c for c in inner)]  # else ids of characters would be left to chance
    a, slow = theirs(lines, models.WordPiece(unk_token="[UNK]"), BERT, normalizer,
                     trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    b, fast = ours(files, lines, folder, model="wordpiece", vocab_size=size, normalization="nfkc", lowercase=1)
    check(f"WordPiece of {size}", a["vocab"] == b["vocab"], f"{slow:.2f} s and {fast:.2f} s")


def unigram(files, lines, folder, size):
    a, slow = theirs(lines, models.Unigram(), METASPACE, None,
                     trainers.UnigramTrainer(vocab_size=size, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False))
    b, fast = ours(files, lines, folder, model="unigram", vocab_size=size)
    a, b = dict(a["vocab"]), dict(b["vocab"])
    far = [t for t in a if t in b and abs(a[t] - b[t]) > 1e-9]
    chance = sorted(a[t] for t in far), sorted(b[t] for t in far)
    same = set(a) == set(b) and all(len(t) == 1 for t in far) and all(abs(x - y) < 0.0001 * (len(far) + 1) for x, y in zip(*chance))
    check(f"Unigram of {size}", same, f"{len(set(a) ^ set(b))} other pieces, {len(far)} scores left to chance, {slow:.2f} s and {fast:.2f} s")


parser = argparse.ArgumentParser()
parser.add_argument("files", nargs="+")
parser.add_argument("--sizes", default="1000,8000")
arguments = parser.parse_args()
text = []
for name in arguments.files:
    with open(name, encoding="utf-8", newline="\n") as f:
        text += list(f)
with tempfile.TemporaryDirectory() as directory:
    for number in map(int, arguments.sizes.split(",")):
        for method in (bpe, word_piece, unigram):
            method(arguments.files, text, directory, number)
sys.exit(failed)
