"""Conversations about easy-vqa's pictures: a description of what is seen, then questions and answers, four turns in each; and the questions of the test
pictures one by one.

    python3 conversations.py DATA OUT     DATA is the package's folder with train/ and test/; makes OUT/train.jsonl, OUT/test.jsonl

SPDX-License-Identifier: MIT"""
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from easy_vqa_manifests import describe  # noqa: E402

TURNS = 4
REQUESTS = ("describe the image", "Describe the image.", "What do you see?", "What is in the picture?", "What does the image show?")


def read(data, split):
    with open(os.path.join(data, split, "questions.json"), encoding="utf-8") as f:
        questions = json.load(f)
    return questions, lambda n: os.path.abspath(os.path.join(data, split, "images", f"{n}.png"))


def conversations(questions, image, draw):
    asked = {}
    for question, answer, number in questions:
        asked.setdefault(number, []).append((question, answer))
    for number, facts in describe(questions).items():
        turns = draw.sample(asked[number], len(asked[number]))
        if len(facts) == 2:
            turns.insert(draw.randrange(TURNS), (draw.choice(REQUESTS), f"a {facts['color']} {facts['shape']}"))
        for i in range(0, len(turns), TURNS):
            messages = [m for q, a in turns[i:i + TURNS] for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})]
            yield {"image": image(number), "messages": messages}


def main(data, out):
    os.makedirs(out, exist_ok=True)
    questions, image = read(data, "train")
    train = list(conversations(questions, image, random.Random(1)))
    questions, image = read(data, "test")
    test = [{"image": image(n), "question": q, "answer": a} for q, a, n in questions]
    for name, lines in (("train", train), ("test", test)):
        with open(os.path.join(out, f"{name}.jsonl"), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines)
        print(f"{name}.jsonl: {len(lines)} lines")


if __name__ == "__main__":
    main(*sys.argv[1:])
