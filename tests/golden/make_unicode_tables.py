"""Write src/tokenizer/unicode_tables.h: what the `tokenizers` package believes about each code point.

The package mixes several versions of Unicode (its regular expressions: 16; BERT's categories: 8; normalization forms: 9),
so the tables are measured on the package itself. Run from the top of the repository, with a Python whose unicodedata is
not newer than the Unicode of the oldest PCRE2 supported (14.0, PCRE2 10.40):
    python tests/golden/make_unicode_tables.py
SPDX-License-Identifier: MIT
"""
import sys
import unicodedata

import tokenizers
from charsmap import charsmap
from tokenizers import Regex, normalizers, pre_tokenizers

OUT = "src/tokenizer/unicode_tables.h"
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Cf".split()


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def matching(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    side = "!" if pattern != r"\p{Po}" else "a"
    return {c for c in CODES if len(split.pre_tokenize_str(side + chr(c) + side)) == 3}


def changed(normalizer, to):
    return {c for c in CODES if normalizer.normalize_str(chr(c)) == to}


def newer_categories():
    """Code points whose category in the package's regular expressions is not the one of Unicode 14, as (first, last, kind)."""
    han = matching(r"\p{Han}")
    rows = {}
    for category in CATEGORIES:
        for c in matching(r"\p{%s}" % category):
            if unicodedata.category(chr(c)) != category:
                rows[c] = "HAN" if c in han and category == "Lo" else category.upper()
    out = []
    for c in sorted(rows):
        if out and out[-1][1] == c - 1 and out[-1][2] == rows[c]:
            out[-1][1] = c
        else:
            out.append([c, c, rows[c]])
    return out


def inert(newer):
    """Code points that newer versions of Unicode normalize and the package leaves alone."""
    nfd, nfkd, nfc = normalizers.NFD(), normalizers.NFKD(), normalizers.NFC()
    out = {c for first, last, _ in newer for c in range(first, last + 1) if unicodedata.category(chr(c)) == "Cn"}
    for c in CODES:
        s = chr(c)
        if unicodedata.normalize("NFKD", s) != s and nfkd.normalize_str(s) == s:
            out.add(c)
        if unicodedata.combining(s):
            # U+0345 has the highest class, 240, U+0334 the lowest, 1: one of the two shows that the mark has a class.
            if nfd.normalize_str("a\u0345" + s) == "a\u0345" + s and nfd.normalize_str("a" + s + "\u0334") == "a" + s + "\u0334":
                if unicodedata.normalize("NFD", "a\u0345" + s) != "a\u0345" + s or unicodedata.normalize("NFD", "a" + s + "\u0334") != "a" + s + "\u0334":
                    out.add(c)
        parts = unicodedata.decomposition(s)
        if parts and not parts.startswith("<") and " " in parts:
            first, second = (int(p, 16) for p in parts.split())
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == s and nfc.normalize_str(chr(first) + chr(second)) != s:
                out |= {c, second}
    return out


def grapheme_tables():
    """Precompiled replaces a whole grapheme cluster of up to 5 bytes by what its beginning is mapped to."""
    x = normalizers.Precompiled(charsmap({"!": "?"}))
    short, longer = (normalizers.Precompiled(charsmap({chr(c): "?" for c in CODES if first <= c < 0x10000 * end} | {"a": "?"}))
                     for first, end in ((1, 1), (0x10000, 2)))
    extend = {c for c in CODES if c and x.normalize_str("!" + chr(c)) == "?"}
    control = {c for c in CODES if 0 < c < 0x10000 and short.normalize_str(chr(c) + "\u0301") == "??"}
    prepend = {c for c in CODES if 0 < c < 0x20000 and (short if c < 0x10000 else longer).normalize_str(chr(c) + "a") == "?"}
    return [
        ("grapheme_extend", "What a grapheme cluster goes on with: Extend, SpacingMark, ZWJ.", extend),
        ("grapheme_control", "What stands alone among grapheme clusters: Control, CR, LF (below U+10000).", control),
        ("grapheme_prepend", "What a grapheme cluster goes on behind.", prepend),
    ]


def main():
    if unicodedata.unidata_version > "14.0.0":
        sys.exit("needs a Python with Unicode 14 or older, this one has " + unicodedata.unidata_version)
    bert_clean = normalizers.BertNormalizer(True, False, False, False)
    bert_accents = normalizers.BertNormalizer(False, False, True, False)
    bert = pre_tokenizers.BertPreTokenizer()
    newer = newer_categories()
    tables = [
        ("bert_removed", "What BERT's clean_text removes: controls, formats, private use, U+FFFD (Unicode 8).", changed(bert_clean, "")),
        ("bert_marks", "Nonspacing marks that BERT's strip_accents removes (Unicode 8).", changed(bert_accents, "")),
        ("bert_punctuation", "BERT's punctuation (Unicode 8), and the ASCII symbols.",
         {c for c in CODES if len(bert.pre_tokenize_str("a" + chr(c) + "b")) == 3}),
        ("combining_marks", "Marks that StripAccents removes (Unicode 9).", changed(normalizers.StripAccents(), "")),
        ("inert", "Code points younger than the package's normalization tables (Unicode 9): left alone, combining class 0.", inert(newer)),
    ] + grapheme_tables()
    lines = ["/* Generated by tests/golden/make_unicode_tables.py from tokenizers %s; see there. Include in unicode_data.c only." % tokenizers.__version__,
             " * SPDX-License-Identifier: MIT */", ""]
    for name, comment, codes in tables:
        rows = ["{0x%X, 0x%X}" % (a, b) for a, b in ranges(codes)]
        lines += emit("static const code_range %s[] = {" % name, comment, rows)
    rows = ["{0x%X, 0x%X, KIND_%s}" % (a, b, k) for a, b, k in newer]
    lines += emit("static const newer_range newer[] = {", "Code points whose category is not yet known to Unicode 14.", rows)
    # Rust's char::to_lowercase against the older mappings, as runs with one distance.
    lower, runs = normalizers.Lowercase(), []
    for c in CODES:
        to = lower.normalize_str(chr(c))
        if len(to) == 1 and to != chr(c) and unicodedata.category(chr(c)) == "Cn":
            if runs and runs[-1][1] == c - 1 and runs[-1][2] == ord(to) - c:
                runs[-1][1] = c
            else:
                runs.append([c, c, ord(to) - c])
    rows = ["{0x%X, 0x%X, %d}" % tuple(r) for r in runs]
    lines += emit("static const lower_range newer_lower[] = {", "Capitals younger than Unicode 14: distance to the small letter.", rows)
    with open(OUT, "w") as f:
        f.write("\n".join(lines).rstrip() + "\n")


def emit(head, comment, rows):
    lines, line = ["/* %s */" % comment, head], "   "
    for row in rows:
        if len(line) + len(row) + 2 > 128:
            lines.append(line)
            line = "   "
        line += " " + row + ","
    return lines + [line, "};", ""]


main()
