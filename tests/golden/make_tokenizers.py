"""Write tests/golden/tokenizers: small tokenizers of each family, a torture text, and what the `tokenizers` package makes of it.

    python tests/golden/make_tokenizers.py       (from the top of the repository; needs tokenizers 0.23, transformers 5, sentencepiece and gguf)

  torture.txt        one hard text a line
  NAME.json          a tokenizer trained on that text and LICENSE
  NAME.gguf          the same vocabulary as llama.cpp's conversion stores it
  expected.json      for each NAME.json: the ids of each line, and the decoded text where it is not the line itself
  spm*.gguf          a BPE model that SentencePiece trained, and in expected.json what that makes of the lines
  steps.json         single normalizers and pre-tokenizers: inputs and outputs
SPDX-License-Identifier: MIT
"""
import io
import json
import os
import re
import unicodedata

import gguf
import sentencepiece
from charsmap import charsmap
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import GemmaTokenizer, LlamaTokenizer, T5Tokenizer, WhisperTokenizer, XLMRobertaTokenizer

OUT = "tests/golden/tokenizers"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

TORTURE = [
    "",
    " ",
    "  two  spaces   three    four ",
    "The quick brown fox can't jump over 12345 lazy dogs; they'll've I'M 'LL don’t.",
    "tab\tcarriage\rreturn\r\r both \r",
    "vertical\x0btab form\x0cfeed nel\x85line ls\u2028ps\u2029end",
    "nbsp\u00a0ogham\u1680mvs\u180een\u2000thin\u2009nnbsp\u202fmath\u205fideo\u3000 end",
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word\ufeffbom \u00ad soft \u061c mark",
    "controls \x01\x02\x1b[0m\x7f\x80\x9f end",
    "👩\u200d👩\u200d👧\u200d👦 👍🏽 🏳️\u200d🌈 🇫🇷🇩🇪 1️⃣ ❤️ 🧑🏿\u200d🚀 🫨🫩",
    "e\u0301 é ệ e\u0323\u0302 e\u0302\u0323 a\u0315\u0300\u05ae\u0062 \u0344 ñandú Ångström \u212b \u2126",
    "Zalgo: H̷̡̪̯ͨ͊̽̅̾̎ȩ̬̩̾͛ͪ̈́̀́ ͕̻",
    "ﬁ ﬂ ﬃ ﬆ Ａｂｃ １２３ ① ㌀ ㋿ ㍿ ½ ² ₃ ⅷ ℌ ｶﾞ ꟲ 𞀰",
    "İstanbul ISTANBUL ıi ẞ ß ſ ǅ Σίσυφος ΣΑΣ Ⅷ Ꭰ Ა ԱԲԳ",
    "שָׁלוֹם עולם مَرْحَبًا بِالعَالَم ‏RTL‎ \u202bembed\u202c \u0600\u06dd\u070f",
    "हिन्दी नमस्ते தமிழ் ไทยภาษา ພາສາ မြန်မာ བོད་ཡིག አማርኛ",
    "한국어 각 \u1112\u1161\u11ab\u1100\u1173\u11af 가\u11a8 \uac00\u11a7 \u1100\u11a8",
    "你好，世界！𠀀𠀁 𪜀 𫝀 𫠠 𮯰 㐀 豈 丽 々〆ヶ カタカナ ひらがな がか\u3099",
    "١٢٣ ४५६ ๗๘๙ 𝟘𝟙 𑜰 𞥐 Ⅻ 六 〇 𐄇 𑱐 ¹ 10²³ 3.14e-10 0xFF 1,000,000",
    "𞤀𞤁 𖿰 𞄀 𑿀 𑼀 𞓐 𐵐 𑯀 𲀀 𡜹 new letters",
    "\ue000\uf8ff \U000f0000\U0010fffd \ufffd \ufffe\uffff \U0010ffff \ud7ff\ue000 \u0378",
    "<|endoftext|> a<|im_start|>user b <|im_end|> [CLS][SEP] [MASK]. [UNK] <mask> x<mask>y <|im_",
    "  <mask>  \u3000<mask>\u2003 WORD word words word. _word word\u0301 ADDED Added \u00e4dded",
    "snake_case camelCase HTTPServer x=y+z*2; // comment /* a */ #include <stdio.h> -> => != && || ::",
    "https://example.org/a?b=c&d=%20#frag user@example.com C:\\path\\file.txt",
    "$+<=>^`|~ !\"#$%&'()*,-./:;?@[\\]_{} «»‹›“”‘’–—…‰ ¡¿§¶†‡•※ ℃ ∀∂∈ ☃★ \U00011FFF\u2E43\u166D",
    "a" * 101 + " " + "b" * 100 + " " + "ab" * 60,
    "é" * 25 + "\u0301" * 20 + " " + "!" * 20 + " " * 20 + "x",
    "ＡＢ\u1ab0\u1dc4\u20d0\ua670\ufe20 \u08d4\u08ca\u1e08f \u0897",
    "I'm you're he'S we'VE it'd '' 't 'tis o'er 'ſ n't do not 's ' x",
    "don't stop . really ? yes ! well , ok ' quoted ' do not n't",
    "▁under ▁ score ĠSpace Ċ <0x41> <0xE4> ##cont </w> â€™ Ã©",
]


# Clusters whose beginning the character map knows, up to 5 bytes and beyond; what does and does not join.
CLUSTERS = ["ﬁ\u0301 ﬁ\u0301\u0302 ½\u0301 ½\u200d ½\u0903 \r\n\r\u0301 \u0600½ \u0600\u06dd½ \u200b\u0301 \u0344\u0301 e\u0301\u0302\u0340\u0301",
            "Å\u0301 \u212b\u0301 A\u030a\u0301 \u110bd½ \U000110bd½ ①\ufe0f ㌀\u3099 が\u3099 か\u3099\u3099 \x07\u0301 ▁\u0301 \u0958\u0301"]


def train(model, trainer, lines=TORTURE, **parts):
    tok = Tokenizer(model)
    for name, value in parts.items():
        setattr(tok, name, value)
    with open("LICENSE", encoding="utf-8") as f:
        text = f.read().split("\n")
    tok.train_from_iterator(text + lines, trainer)
    return tok


def byte_level_bpe(pre, size=420, specials=(), **parts):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    parts.setdefault("decoder", decoders.ByteLevel())
    return train(models.BPE(), trainer, pre_tokenizer=pre, **parts)


def word_piece(size=480, specials=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), **parts):
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False)
    tok = train(models.WordPiece(unk_token="[UNK]"), trainer, **parts)
    tok.decoder = decoders.WordPiece()
    return tok


def nmt_nfkc():
    """What SentencePiece's usual map does with the characters of the torture text."""
    rules = {}
    for c in sorted(set("".join(TORTURE))) + ["\u0958", "\u0340", "\u2581"]:
        to = unicodedata.normalize("NFKC", c)
        if unicodedata.category(c) == "Cc" and not c.isspace():
            to = ""
        elif c.isspace() or c in "\u200b\u200c\u200d\u200e\u200f\ufeff\ufffd":
            to = " "
        if to != c:
            rules[c] = to
    for pair in re.findall(r".[\u0300-\u03ff\u3099\u1161-\u11ff]", "\n".join(TORTURE)):
        if unicodedata.normalize("NFKC", pair) != pair:
            rules[pair] = unicodedata.normalize("NFKC", pair)
    rules["\r\n"] = " "
    return charsmap(rules)


def unigram(size, specials, unk, **parts):
    """(token, score) of a Unigram model trained with these parts; it needs a token for each character that it sees."""
    latin = [line for line in TORTURE if all(c < "\u0250" or c in "你好世界▁👍é\u0301ﬁ" for c in line)]
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=list(specials), unk_token=unk, show_progress=False)
    return [tuple(p) for p in json.loads(train(models.Unigram(), trainer, latin, **parts).to_str())["model"]["vocab"]]


def sentence_bpe(size, specials, **parts):
    """Vocabulary and merges of a byte-fallback BPE."""
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials) + ["<0x%02X>" % b for b in range(256)], show_progress=False, limit_alphabet=60)
    model = json.loads(train(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), trainer, **parts).to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def make_sentence_piece():
    """Families whose vocabulary comes from SentencePiece, through the classes of transformers where it has one."""
    out = {}
    n, p, d = normalizers, pre_tokenizers, decoders
    precompiled = n.Precompiled(nmt_nfkc())
    words = p.Sequence([p.WhitespaceSplit(), p.Metaspace()])

    vocab = unigram(330, ["<pad>", "</s>", "<unk>"], "<unk>", normalizer=precompiled, pre_tokenizer=words)
    tok = T5Tokenizer(vocab=vocab + [("<extra_id_%d>" % i, 0.0) for i in (1, 0)], _spm_precompiled_charsmap=nmt_nfkc(), extra_ids=2).backend_tokenizer
    out["t5"] = tok

    # as in the files that older conversions wrote
    tok = Tokenizer(models.Unigram(vocab, 2, False))
    tok.normalizer = n.Sequence([precompiled, n.Strip(left=False, right=True), n.Replace(Regex(" {2,}"), "▁")])
    tok.pre_tokenizer, tok.decoder = p.Metaspace(prepend_scheme="first"), d.Metaspace(prepend_scheme="first")
    tok.add_special_tokens([AddedToken(t, normalized=False) for t in ("<pad>", "</s>", "<unk>")] + [AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False)])
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    out["t5_first"] = tok

    siglip = n.Sequence([n.Lowercase(), n.Replace(Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"), ""), n.Replace(Regex(r"\s+"), " "), n.Strip(), precompiled])
    tok = Tokenizer(models.Unigram(unigram(300, ["<pad>", "</s>", "<unk>"], "<unk>", normalizer=siglip, pre_tokenizer=p.Metaspace()), 2, False))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = siglip, p.Metaspace(), d.Metaspace()
    tok.add_special_tokens([AddedToken(t, lstrip=True, rstrip=True, normalized=False) for t in ("</s>", "<unk>")])
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    out["siglip"] = tok

    vocab = unigram(300, ["<s>", "<pad>", "</s>", "<unk>"], "<unk>", normalizer=precompiled, pre_tokenizer=words)
    out["xlm_roberta"] = XLMRobertaTokenizer(vocab=[v for v in vocab if v[0] != "<mask>"] + [("<mask>", 0.0)], _spm_precompiled_charsmap=nmt_nfkc(),
                                             mask_token=AddedToken("<mask>", lstrip=True, special=True)).backend_tokenizer

    # bytes instead of unknown characters, no word boundaries, scores with ties
    vocab = unigram(250, ["<unk>"] + ["<0x%02X>" % b for b in range(256)], "<unk>", normalizer=n.Nmt())
    tok = Tokenizer(models.Unigram([(t, round(s)) for t, s in vocab], 0, True))
    tok.normalizer, tok.decoder = n.Sequence([n.Nmt(), n.Replace(" ", "▁")]), d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse()])
    tok.pre_tokenizer = p.Sequence([p.Digits(True), p.Metaspace(prepend_scheme="never", split=False)])
    out["unigram_bytes"] = tok

    vocab, merges = sentence_bpe(400, ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], normalizer=n.Replace(" ", "▁"), pre_tokenizer=p.Split("▁", "merged_with_next"))
    tok = GemmaTokenizer(vocab=vocab, merges=merges).backend_tokenizer
    tok.add_tokens([AddedToken(t, normalized=False) for t in ("\n\n", "\t", "<unused0>", "▁▁", "▁▁▁")])
    tok.add_special_tokens(["<image>", "<loc0000>"])
    tok.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
    out["gemma"] = tok

    vocab, merges = sentence_bpe(400, ["<unk>", "<s>", "</s>"], pre_tokenizer=p.Metaspace(split=False))
    for scheme in ("first", "always", "never"):
        tok = LlamaTokenizer(vocab=vocab, merges=merges, add_prefix_space=scheme != "never", legacy=scheme == "always").backend_tokenizer
        assert json.loads(tok.to_str())["pre_tokenizer"]["prepend_scheme"] == scheme
        tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
        if scheme == "always":  # as Phi-3 marks its roles
            tok.add_special_tokens([AddedToken(t, rstrip=True, normalized=False) for t in ("<|im_start|>", "<|im_end|>")])
        out["llama_" + scheme] = tok

    tok = byte_level_bpe(p.ByteLevel(add_prefix_space=False), size=400, specials=["<|endoftext|>"])
    model = json.loads(tok.to_str())["model"]
    tok = WhisperTokenizer(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]], additional_special_tokens=[
        "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]).backend_tokenizer
    tok.add_tokens([AddedToken("<|%.2f|>" % (i * .02), normalized=False) for i in range(3)])
    out["whisper"] = tok
    return out


def edited(tok, edit):
    spec = json.loads(tok.to_str())
    edit(spec)
    return Tokenizer.from_str(json.dumps(spec))


def make_all():
    out = {}
    sequence, byte_level = pre_tokenizers.Sequence, pre_tokenizers.ByteLevel
    im = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

    out["gpt2"] = byte_level_bpe(byte_level(add_prefix_space=False), specials=["<|endoftext|>"], post_processor=processors.ByteLevel(trim_offsets=False))

    out["smollm"] = byte_level_bpe(sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(add_prefix_space=False)]), specials=im)

    tok = byte_level_bpe(sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level(add_prefix_space=False, use_regex=False)]),
                         specials=["<|begin_of_text|>", "<|eot_id|>"])
    tok = edited(tok, lambda spec: spec["model"].update(ignore_merges=True))
    bos = ("<|begin_of_text|>", tok.token_to_id("<|begin_of_text|>"))
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[bos])])
    out["llama3"] = tok

    out["qwen2"] = byte_level_bpe(sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"), byte_level(add_prefix_space=False, use_regex=False)]),
                                  specials=im, normalizer=normalizers.NFC())

    tok = byte_level_bpe(byte_level(add_prefix_space=True), size=380, specials=["<s>", "<pad>", "</s>", "<unk>"])
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    tok.post_processor = processors.RobertaProcessing(("</s>", tok.token_to_id("</s>")), ("<s>", tok.token_to_id("<s>")))
    out["roberta"] = tok

    trainer = trainers.BpeTrainer(vocab_size=620, special_tokens=["<|startoftext|>", "<|endoftext|>"], show_progress=False, end_of_word_suffix="</w>",
                                  initial_alphabet=byte_level.alphabet())
    tok = train(models.BPE(unk_token="<|endoftext|>", continuing_subword_prefix="", end_of_word_suffix="</w>"), trainer,
                normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
                pre_tokenizer=sequence([pre_tokenizers.Split(Regex(CLIP), "removed", invert=True), byte_level(add_prefix_space=False)]),
                decoder=decoders.Sequence([decoders.BPEDecoder("</w>")]))
    tok.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False)
    out["clip"] = tok

    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)], show_progress=False,
                                  limit_alphabet=60)
    tok = train(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), trainer,
                normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
                decoder=decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]))
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    out["llama2"] = edited(tok, lambda spec: spec.update(added_tokens=spec["added_tokens"][:3]))  # the byte tokens are the model's alone

    def bert(**options):
        tok = word_piece(normalizer=normalizers.BertNormalizer(**options), pre_tokenizer=pre_tokenizers.BertPreTokenizer())
        tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        return tok

    out["bert"] = bert()
    out["bert"].enable_truncation(16)
    out["bert"].enable_padding(length=16)
    out["bert_cased"] = bert(lowercase=False)
    out["bert_accents"] = bert(strip_accents=False)
    out["bert_raw"] = bert(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    out["bert_raw"].post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))

    tok = word_piece(normalizer=normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]),
                     pre_tokenizer=sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits()]))
    tok.add_tokens([AddedToken("word", single_word=True), AddedToken("ADDED", normalized=True), AddedToken("Added", normalized=False),
                    AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False), AddedToken("wor", normalized=False, single_word=True)])
    tok.add_special_tokens([AddedToken("<|im_end|>", special=True, rstrip=True)])
    out["mixed"] = tok
    return out


def write_gguf(name, tok, model, pre):
    spec = json.loads(tok.to_str())
    vocab = spec["model"]["vocab"]
    special = {t["content"] for t in spec["added_tokens"] if t["special"]}
    tokens = [t for t, _ in sorted(vocab.items(), key=lambda p: p[1])]
    types = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    w = gguf.GGUFWriter(os.path.join(OUT, name + ".gguf"), "test")
    w.add_tokenizer_model(model)
    if model == "bert":
        w.add_token_list([t if t in special else t[2:] if t.startswith("##") else "\u2581" + t for t in tokens])
        w.add_unk_token_id(1)
        w.add_uint32("tokenizer.ggml.cls_token_id", 2)
        w.add_sep_token_id(3)
        w.add_pad_token_id(0)
        w.add_mask_token_id(4)
    else:
        w.add_token_list(tokens)
        w.add_tokenizer_pre(pre)
        w.add_token_merges([" ".join(m) for m in spec["model"]["merges"]])
        w.add_bos_token_id(0)
        w.add_eos_token_id(1)
        w.add_add_bos_token(pre == "llama-bpe")
    w.add_token_types(types)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def write_sentence_piece(name, prefix):
    """Train a BPE model, write it as llama.cpp's conversion does, and return its ids of the lines, <s> before each."""
    with open("LICENSE", encoding="utf-8") as f:
        lines = [line for line in f.read().split("\n") + TORTURE if line]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=700, byte_fallback=True,
                                             character_coverage=0.98, normalization_rule_name="identity", add_dummy_prefix=prefix,
                                             remove_extra_whitespaces=False, minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(sp.get_piece_size())
    w = gguf.GGUFWriter(os.path.join(OUT, name + ".gguf"), "test")
    w.add_tokenizer_model("llama")
    w.add_token_list([sp.id_to_piece(i) for i in ids])
    w.add_token_scores([sp.get_score(i) for i in ids])
    w.add_token_types([gguf.TokenType.UNKNOWN if sp.is_unknown(i) else gguf.TokenType.CONTROL if sp.is_control(i) else
                       gguf.TokenType.BYTE if sp.is_byte(i) else gguf.TokenType.NORMAL for i in ids])
    w.add_bos_token_id(sp.bos_id())
    w.add_eos_token_id(sp.eos_id())
    w.add_unk_token_id(sp.unk_id())
    if not prefix:
        w.add_add_space_prefix(False)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    encoded = [[sp.bos_id()] + sp.encode(line) for line in TORTURE]
    assert [sp.decode(i) for i in encoded] == [line.replace("▁", " ") for line in TORTURE]
    return {"ids": encoded, "pair": encoded[3] + encoded[21]}


def make_steps():
    texts = [t for t in TORTURE if t] + ["the-final--countdown", "--a-", "-", "Hey friend!     How are you?!?", "aXbXXc", "XX"] + CLUSTERS
    n, p = normalizers, pre_tokenizers
    norms = [n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.Lowercase(), n.StripAccents(), n.Strip(), n.Strip(left=False), n.Strip(right=False),
             n.Replace("a", "bb"), n.Replace(Regex(r"\s+"), "_"), n.Replace(Regex(r"\p{L}(?=\p{M})"), ""), n.Prepend("▁"), n.Nmt(), n.Precompiled(nmt_nfkc()), n.BertNormalizer(),
             n.BertNormalizer(False, True, False, False), n.BertNormalizer(True, False, True, False),
             n.Sequence([n.NFD(), n.Sequence([n.StripAccents(), n.Lowercase()]), n.NFC()])]
    pres = [p.ByteLevel(True), p.Digits(True), p.Digits(False), p.Whitespace(),
            p.WhitespaceSplit(), p.BertPreTokenizer(), p.Split(Regex(LLAMA3), "isolated"), p.Split(Regex(CLIP), "removed", invert=True),
            p.Split(Regex(r"\b\w+\b"), "isolated"), p.Split(Regex(r"\w+|[^\w\s]+"), "removed", invert=True), p.Split(Regex(r"\W+"), "removed"), p.Split(Regex(r"[\w'\p{Han}]+"), "isolated"),
            p.Split(Regex(r"\p{Han}+|\P{L}|\p{^M}"), "isolated"), p.Split(Regex("-*"), "isolated"), p.Split(Regex("^."), "isolated"),
            p.Split(Regex("(?<=[a-z])(?=[A-Z])"), "isolated"), p.Sequence([p.Whitespace(), p.Sequence([p.Punctuation(), p.Digits(True)])])]
    pres += [p.Metaspace(), p.Metaspace(prepend_scheme="first"), p.Metaspace("é", "never"), p.Metaspace("_", "always", split=False),
             p.Sequence([p.WhitespaceSplit(), p.Metaspace(prepend_scheme="first")]), p.Sequence([p.Digits(), p.Metaspace("▁", "first", split=False)])]
    hard = [t for t in texts if len(t) < 58]
    few = texts[-6 - len(CLUSTERS):-len(CLUSTERS)] + TORTURE[3:5]
    behaviors = []
    for b in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        behaviors += [p.Split("X", b), p.Split("-", b), p.Split("-", b, invert=True), p.Split(Regex(r"\s+"), b), p.Split(Regex(r"\w+"), b, invert=True), p.Punctuation(b)]
    out = []
    for kind, steps, inputs in (("normalizer", norms, texts), ("pre_tokenizer", pres, hard), ("pre_tokenizer", behaviors, few)):
        for step in steps:
            tok = Tokenizer(models.BPE())
            setattr(tok, kind, step)
            cases = []
            for text in inputs:
                if kind == "normalizer":
                    result = step.normalize_str(text)
                    if result == text:
                        continue
                else:
                    result = [w for w, _ in step.pre_tokenize_str(text)]
                cases.append([texts.index(text), result])
            out.append({kind: json.loads(tok.to_str())[kind], "cases": cases})
    return {"texts": texts, "steps": out}


def main():
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "torture.txt"), "w", encoding="utf-8", newline="\n") as f:
        f.write("".join(line + "\n" for line in TORTURE))
    expected = {}
    toks = {**make_all(), **make_sentence_piece()}
    for name, tok in toks.items():
        with open(os.path.join(OUT, name + ".json"), "w", encoding="utf-8", newline="\n") as f:
            f.write(json.dumps(json.loads(tok.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
        tok.no_truncation()
        tok.no_padding()
        ids = [tok.encode(line).ids for line in TORTURE]
        plain = [tok.decode(i) for i in ids]
        with_special = [tok.decode(i, skip_special_tokens=False) for i in ids]
        pair = tok.encode(TORTURE[3], TORTURE[21])
        entry = {"ids": ids, "pair": pair.ids, "pair_types": pair.type_ids, "bare": tok.encode(TORTURE[21], add_special_tokens=False).ids}
        if not name.startswith("bert_"):
            entry.update({"decoded": [None if d == line else d for d, line in zip(plain, TORTURE)],
                          "decoded_special": [None if d == p else d for d, p in zip(with_special, plain)]})
        tok.encode_special_tokens = True
        entry["unparsed"] = tok.encode(TORTURE[21]).ids
        tok.encode_special_tokens = False
        expected[name] = entry
    for prefix, name in ((True, "spm"), (False, "spm_plain")):
        expected[name] = write_sentence_piece(name, prefix)
    with open(os.path.join(OUT, "expected.json"), "w", encoding="utf-8", newline="\n") as f:
        f.write("{\n" + ",\n".join(json.dumps(n) + ":" + json.dumps(e, ensure_ascii=False, separators=(",", ":")) for n, e in expected.items()) + "\n}\n")
    with open(os.path.join(OUT, "steps.json"), "w", encoding="utf-8", newline="\n") as f:
        steps = make_steps()
        f.write("{\"texts\":" + json.dumps(steps["texts"], ensure_ascii=False) + ",\n\"steps\":[\n" +
                ",\n".join(json.dumps(s, ensure_ascii=False, separators=(",", ":")) for s in steps["steps"]) + "\n]}\n")
    write_gguf("smollm", toks["smollm"], "gpt2", "smollm")
    write_gguf("llama3", toks["llama3"], "gpt2", "llama-bpe")
    write_gguf("qwen2", toks["qwen2"], "gpt2", "qwen2")
    write_gguf("bert", toks["bert"], "bert", None)


main()
