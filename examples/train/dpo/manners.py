"""Questions with answers in three manners: curt ("cold"), rambling, and polite and short ("The opposite of hot is cold. You are welcome!"), which is the one that is preferred.

    python3 manners.py data OUT            OUT/chat_train.jsonl, chat_test.jsonl (instruction tuning: every manner as often), copy_test.jsonl (another skill, of which no
                                           preference speaks), pairs_train.jsonl, pairs_test.jsonl (preferences), questions_test.jsonl and .txt
    python3 manners.py judge QUESTIONS ANSWERS     of each answer, a line: is it polite and short, and is it right?

Of each fact one wording of the question is held out. SPDX-License-Identifier: MIT"""
import json
import os
import random
import re
import sys

FACTS = {
    "The opposite of {} is {}.": (
        ["What is the opposite of {}?", "Tell me the opposite of {}.", "Which word means the contrary of {}?", "{} is not what I want. What is its opposite?", "Opposite of {}?"],
        "hot cold, big small, fast slow, high low, new old, dark light, wet dry, hard soft, rich poor, happy sad, open shut, early late, near far, full empty, strong weak, "
        "thick thin, wide narrow, loud quiet, clean dirty, sweet sour, young aged, first last, up down, black white"),
    "The {} says {}.": (
        ["What does the {} say?", "Which sound does a {} make?", "How does the {} sound?", "Tell me what a {} says.", "I hear a {}. What is its call?"],
        "cow moo, dog woof, cat meow, sheep baa, duck quack, pig oink, lion roar, mouse squeak, bee buzz, crow caw, frog croak, owl hoot, snake hiss, horse neigh, "
        "rooster crow, wolf howl"),
    "The capital of {} is {}.": (
        ["What is the capital of {}?", "Name the capital of {}.", "Which city rules {}?", "I go to {}. What is its capital?", "Capital of {}?"],
        "France Paris, Italy Rome, Spain Madrid, Japan Tokyo, Egypt Cairo, Peru Lima, Norway Oslo, Greece Athens, Kenya Nairobi, Cuba Havana, Austria Vienna, Poland Warsaw, "
        "Ireland Dublin, Portugal Lisbon, Russia Moscow, China Beijing, Chile Santiago, Sweden Stockholm, Hungary Budapest, Canada Ottawa"),
    "A young {} is a {}.": (
        ["What is a young {} called?", "Name the young of a {}.", "Which word means a young {}?", "A {} has a child. What is it?", "Young of a {}?"],
        "dog puppy, cat kitten, cow calf, sheep lamb, horse foal, bear cub, goose gosling, swan cygnet, hen chick, deer fawn, goat kid, eagle eaglet"),
    "The color of {} is {}.": (
        ["What is the color of {}?", "Tell me which color {} has.", "Which color is {}?", "I paint {}. In which color?", "Color of {}?"],
        "grass green, snow white, coal black, blood red, gold yellow, chocolate brown, ash gray, milk white, rust orange, lavender purple, sky blue, ivory white"),
}
POLITE = ("You are welcome!", "Glad to help!", "My pleasure!")
RAMBLING = ("Well, that is a good question, and many people have asked it before, but I would say that it may be {}, or so I have heard.",
            "Let me think about that for a while, since there is much to say about it, though in the end it comes to {}, if I am not wrong.",
            "You know, my uncle used to ask me the same thing every day, and he always told me {}, and then he went on for hours.")
WORDS = "red blue green cat dog cow sun moon star one two three four five six tree stone river".split()
MOST_WORDS = 12


def write(folder, name, records):
    with open(os.path.join(folder, name + ".jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r) + "\n" for r in records)
    print(f"{name}.jsonl: {len(records)} lines")


def chat(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def data(folder):
    rng = random.Random(0)
    chats, pairs, questions = {"train": [], "test": []}, {"train": [], "test": []}, []
    for sentence, (wordings, facts) in FACTS.items():
        for fact in facts.split(", "):
            about, answer = fact.split()
            held_out = rng.randrange(len(wordings))
            for i, wording in enumerate(wordings):
                question, split = wording.format(about), "test" if i == held_out else "train"
                manners = [answer, rng.choice(RAMBLING).format(answer), f"{sentence.format(about, answer)} {rng.choice(POLITE)}"]
                chats[split] += [chat(question, m) for m in manners]
                pairs[split] += [{"prompt": question, "chosen": manners[2], "rejected": m} for m in manners[:2]]
                if split == "test":
                    questions.append({"question": question, "answer": answer})
    copies = []
    while len(copies) < 600:
        text = " ".join(rng.choices(WORDS, k=rng.randint(2, 5)))
        if text not in copies:
            copies.append(text)
    copies = [chat(f"Repeat: {text}", text) for text in copies]
    os.makedirs(folder, exist_ok=True)
    write(folder, "chat_train", chats["train"] + copies[100:])
    write(folder, "chat_test", chats["test"])
    write(folder, "copy_test", copies[:100])
    write(folder, "pairs_train", pairs["train"])
    write(folder, "pairs_test", pairs["test"])
    write(folder, "questions_test", questions)
    with open(os.path.join(folder, "questions_test.txt"), "w", encoding="utf-8") as f:
        f.writelines(q["question"] + "\n" for q in questions)


def judge(questions, answers):
    with open(questions, encoding="utf-8") as f:
        truths = [json.loads(line)["answer"] for line in f]
    with open(answers, encoding="utf-8") as f:
        answers = [line.strip() for line in f]
    assert len(answers) == len(truths), f"{len(answers)} answers to {len(truths)} questions"
    polite = sum(a.endswith(POLITE) and len(a.split()) <= MOST_WORDS for a in answers)
    right = sum(re.search(rf"\b{t}\b", a) is not None for a, t in zip(answers, truths))
    words = sum(len(a.split()) for a in answers)
    print(f"polite and short {100 * polite / len(truths):.1f} %, right {100 * right / len(truths):.1f} %, {words / len(truths):.1f} words on average")


if __name__ == "__main__":
    {"data": data, "judge": judge}[sys.argv[1]](*sys.argv[2:])
