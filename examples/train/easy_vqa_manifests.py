"""Manifests of easy-vqa (Victor Zhou's package: 5,000 pictures of a shape, 48,248 questions): train.jsonl and test.jsonl for questions, and for the shape, the color
and a caption of each picture, which its questions and answers tell.

    python3 easy_vqa_manifests.py DATA OUT     DATA is the package's folder with train/ and test/

SPDX-License-Identifier: MIT"""
import json
import os
import re
import sys

SHAPES = ("circle", "rectangle", "triangle")


def describe(questions):
    """What each picture shows, as far as its questions give it away: {number: {"shape": .., "color": ..}}"""
    seen = {}
    for question, answer, number in questions:
        facts = seen.setdefault(number, {})
        about = re.sub(r"[?.]", "", question).split()
        if answer in SHAPES:
            facts["shape"] = answer
        elif answer not in ("yes", "no"):
            facts["color"] = answer
        if answer == "yes" and "not" not in about and "no" not in about:
            for word in about:
                if word in SHAPES:
                    facts["shape"] = word
    return seen


def main(data, out):
    os.makedirs(out, exist_ok=True)
    for split in ("train", "test"):
        with open(os.path.join(data, split, "questions.json"), encoding="utf-8") as f:
            questions = json.load(f)
        facts = describe(questions)
        image = lambda n: os.path.abspath(os.path.join(data, split, "images", f"{n}.png"))
        lines = {
            "questions": [{"image": image(n), "question": q, "answer": a} for q, a, n in questions],
            "shape": [{"image": image(n), "labels": {"shape": f["shape"]}} for n, f in sorted(facts.items()) if "shape" in f],
            "color": [{"image": image(n), "labels": {"color": f["color"]}} for n, f in sorted(facts.items()) if "color" in f],
            "caption": [{"image": image(n), "caption": f"a {f['color']} {f['shape']}"} for n, f in sorted(facts.items()) if len(f) == 2],
        }
        for name, records in lines.items():
            with open(os.path.join(out, f"{split}_{name}.jsonl"), "w", encoding="utf-8") as f:
                f.writelines(json.dumps(r) + "\n" for r in records)
            print(f"{split}_{name}.jsonl: {len(records)} lines")


if __name__ == "__main__":
    main(*sys.argv[1:])
