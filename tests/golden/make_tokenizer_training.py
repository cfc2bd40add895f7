"""Write tests/golden/tokenizer_training: what the trainers of the `tokenizers` package learn from a text.

    python tests/golden/make_tokenizer_training.py       (from the top of the repository; needs tokenizers 0.23)

  corpus.txt   pages and headers of this project as they once stood; kept when it is there. The hard lines of
               tests/golden/tokenizers/torture.txt are learnt from too
  NAME.json    "vocab": the tokens by id; "merges" of BPE; "scores" of Unigram; "lines": some lines and their ids

Where the package goes by the order of a hash map, which is another one in each run, it is made to take the order that libmm promises:
WordPiece gets the characters as special tokens, and Unigram's characters without a piece get their scores by code point.
SPDX-License-Identifier: MIT
"""
import glob
import json
import os

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

OUT = "tests/golden/tokenizer_training"
CORPUS, TORTURE = OUT + "/corpus.txt", "tests/golden/tokenizers/torture.txt"
BYTES, METASPACE, BERT = pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Metaspace(), pre_tokenizers.BertPreTokenizer()
ALPHABET = pre_tokenizers.ByteLevel.alphabet()
LINES = ["Returns MM_OK, MM_E_ARGUMENT or MM_E_NOMEM; the caller owns it.", "  An unheard-of, UPPERCASE sentence: naïve café №5 ½ ﬁ",
         "the tokenizer's vocabulary and the model's weights", "x=0x7f;/* [B, 3, H, W] float32 */\t\n"]
RUNS = 8  # of Unigram, to see which scores hang on chance


def corpus():
    lines = []
    for path in (CORPUS, TORTURE):
        with open(path, encoding="utf-8", newline="\n") as f:
            lines += list(f)
    return lines


def train(model, pre_tokenizer, trainer, normalizer=None):
    t = Tokenizer(model)
    t.pre_tokenizer = pre_tokenizer
    if normalizer:
        t.normalizer = normalizer
    t.train_from_iterator(corpus(), trainer)
    return t


def words(pre_tokenizer, normalizer):
    return [w for line in corpus() for w, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(line) if normalizer else line)]


def write(name, t, **more):
    vocab = t.get_vocab(with_added_tokens=False)
    out = {"vocab": sorted(vocab, key=vocab.get), **more,
           "lines": [{"text": line, "ids": t.encode(line, add_special_tokens=False).ids} for line in LINES]}
    with open(f"{OUT}/{name}.json", "w", encoding="utf-8") as f:
        json.dump(out, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


def bpe(name, pre_tokenizer, normalizer=None, **options):
    t = train(models.BPE(unk_token="<unk>" if "<unk>" in options["special_tokens"] else None), pre_tokenizer,
              trainers.BpeTrainer(show_progress=False, **options), normalizer)
    if "limit_alphabet" in options:  # characters of one count at the limit would be kept by chance
        counts = {}
        for w in words(pre_tokenizer, normalizer):
            for c in w:
                counts[c] = counts.get(c, 0) + 1
        order = sorted(counts.values(), reverse=True)
        assert order[options["limit_alphabet"] - 1] > order[options["limit_alphabet"]], "pick another limit_alphabet"
    write(name, t, merges=[" ".join(m) for m in json.loads(t.to_str())["model"]["merges"]])


def word_piece(name, pre_tokenizer, normalizer, special_tokens, **options):
    seen = words(pre_tokenizer, normalizer)
    first = sorted({c for w in seen for c in w if c != "\0"})
    inner = sorted({c for w in seen for c in w[1:] if c != "\0"})
    t = train(models.WordPiece(unk_token="[UNK]"), pre_tokenizer,
              trainers.WordPieceTrainer(special_tokens=special_tokens + first + ["##" + c for c in inner], show_progress=False, **options), normalizer)
    t = Tokenizer.from_str(json.dumps({**json.loads(t.to_str()), "added_tokens": []}))  # characters are no added tokens
    write(name, t)


def unigram(name, pre_tokenizer, **options):
    runs = []
    for _ in range(RUNS):
        t = train(models.Unigram(), pre_tokenizer, trainers.UnigramTrainer(unk_token="<unk>", show_progress=False, **options))
        runs.append(dict(json.loads(t.to_str())["model"]["vocab"]))
    assert all(set(r) == set(runs[0]) for r in runs), "the vocabulary itself hangs on chance"
    chance = sorted(k for k in runs[0] if max(r[k] for r in runs) - min(r[k] for r in runs) > 1e-5)
    assert all(len(k) == 1 for k in chance)
    least, scores = min(runs[0].values()), dict(runs[0])
    for i, k in enumerate(chance):
        scores[k] = least + i * 0.0001
    model = json.loads(t.to_str())
    specials = options["special_tokens"]
    tokens = specials + sorted((k for k in scores if k not in specials), key=lambda k: (-scores[k], k))
    model["model"]["vocab"] = [[k, scores[k]] for k in tokens]
    t = Tokenizer.from_str(json.dumps(model))
    write(name, t, scores=[round(scores[k], 11) for k in tokens])


os.makedirs(OUT, exist_ok=True)
if not os.path.exists(CORPUS):
    with open(CORPUS, "w", encoding="utf-8") as f:
        text = "".join(open(p, encoding="utf-8").read() for p in sorted(glob.glob("docs/*.md")) + sorted(glob.glob("include/*.h")))
        f.write(text[:text.rfind("\n", 0, 110000) + 1])
bpe("bpe", BYTES, vocab_size=1200, min_frequency=2, special_tokens=["<s>", "</s>"], initial_alphabet=ALPHABET)
bpe("bpe_all", BYTES, vocab_size=30000, special_tokens=[], initial_alphabet=ALPHABET, max_token_length=5)
bpe("bpe_short", METASPACE, normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]), vocab_size=900, limit_alphabet=40,
    special_tokens=["<pad>", "<unk>"])
word_piece("word_piece", BERT, normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
           vocab_size=1500)
unigram("unigram", METASPACE, vocab_size=1000, special_tokens=["<unk>", "</s>"])
unigram("unigram_bytes", BYTES, vocab_size=800, special_tokens=["<unk>"], initial_alphabet=ALPHABET, max_piece_length=6)
unigram("unigram_pairs", METASPACE, vocab_size=1250, special_tokens=["<unk>"], max_piece_length=2)  # few enough: the order of the seeds decides
