"""How modalities meet and how tasks share, on easy-vqa: one small model for three tasks (the answer to a question about the picture as one of
13 classes, the picture's shape, its color) with early, late and interactive fusion, each with hard, soft and hierarchical sharing, beside a
model for each task alone. All with the same data, steps, batches and seed; the table goes to stdout, and to OUT/table.md.

    python3 ablation.py MM DATA OUT [--steps N] [RUN ..]     MM is the program, DATA the package's folder with train/ and test/

A run that is complete is not run again, one that was interrupted goes on.
SPDX-License-Identifier: MIT"""
import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from easy_vqa_manifests import SHAPES, describe  # noqa: E402

COLORS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
LABELS = {"answer": ("yes", "no") + SHAPES + COLORS, "shape": SHAPES, "color": COLORS}
FUSIONS = ("early", "late", "interactive")
SHARINGS = {"hard": {"kind": "hard"}, "soft, l2": {"kind": "soft", "mixing": "l2"}, "soft, cross-stitch": {"kind": "soft", "mixing": "cross_stitch"},
            "hierarchical": {"kind": "hierarchical"}}
RATIOS = {"answer": 2, "shape": 1, "color": 1}
BATCH = 64


def write_manifests(data, out):
    """Three for training and three for testing. What is asked of a picture's shape and color says nothing about them."""
    for split in ("train", "test"):
        with open(os.path.join(data, split, "questions.json"), encoding="utf-8") as f:
            questions = json.load(f)
        line = lambda n, q, **labels: {"image": os.path.abspath(os.path.join(data, split, "images", f"{n}.png")), "question": q, "labels": labels}
        facts = sorted(describe(questions).items())
        lines = {"answer": [line(n, q, answer=a) for q, a, n in questions]}
        for head in ("shape", "color"):
            lines[head] = [line(n, "what is in the image?", **{head: f[head]}) for n, f in facts if head in f]
        for head, records in lines.items():
            with open(os.path.join(out, f"{split}_{head}.jsonl"), "w", encoding="utf-8") as f:
                f.writelines(json.dumps(r) + "\n" for r in records)


def model(fusion, sharing, tasks):
    layers = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, hidden_act="gelu", initializer_range=0.05)
    heads = [{"name": t, "kind": "classification", "labels": LABELS[t], "pool": "mean"} for t in tasks]
    if sharing == "hierarchical":  # the easier tasks read less deep: a trunk of late fusion has no layers, so there in the picture's tower
        for h in heads:
            if h["name"] != "answer":
                h.update({"input": "vision", "depth": 1} if fusion == "late" else {"depth": 1})
    config = {"architectures": ["MMModel"], "model_type": "mm", "initializer_range": 0.05, "hidden_size": 64, "fusion": fusion,
              "text_config": dict(layers, model_type="bert", vocab_size=96, max_position_embeddings=16, pad_token_id=0),
              "vision_config": dict(layers, model_type="vit", image_size=32, patch_size=8),
              "heads": heads, "sharing": SHARINGS.get(sharing, SHARINGS["hard"])}
    if fusion != "late":
        config["fusion_config"] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    return {"config": config,
            "tokenizer": {"train": "wordpiece", "vocab_size": 96, "lowercase": True, "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
                          "sep_token": "[SEP]"},
            "processor": {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2, "do_rescale": True,
                          "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}}


def configuration(name, fusion, sharing, tasks, split, steps):
    config = {"output": name, "seed": 1, "steps": steps, "batch_size": BATCH, "clip_norm": 1.0, "log_every": 5, "model": model(fusion, sharing, tasks),
              "tasks": [{"name": t, "objective": "classification", "head": t, "ratio": RATIOS[t], "data": {"train": f"{split}_{t}.jsonl"}} for t in tasks],
              "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "groups": [{"match": ["*bias", "*norm*"], "weight_decay": 0}]},
              "schedule": {"name": "cosine", "warmup_steps": 100}}
    if sharing == "soft, l2":
        config["sharing_penalty"] = 1e-3
    return config


def run_all(args, out):
    """A command's output, and the seconds of processor that it took."""
    before = os.times()
    text = subprocess.run(args, cwd=out, check=True, stdout=subprocess.PIPE, text=True).stdout
    after = os.times()
    return text, after.children_user + after.children_system - before.children_user - before.children_system


def tensors_of(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    header.pop("__metadata__", None)
    return header


def elements(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def last_loss(path, task):
    """The mean of what the log has of a task's loss in the last tenth of the steps."""
    with open(path, encoding="utf-8") as f:
        lines = [line for line in map(json.loads, f) if "loss" in line]
    losses = [line["tasks"][task] for line in lines if line["step"] > 0.9 * lines[-1]["step"] and task in line["tasks"]]
    return sum(losses) / len(losses)


def run(mm, out, name, fusion, sharing, tasks, steps):
    """What a run gives, as a row of the table."""
    result = os.path.join(out, name, "result.json")
    if os.path.exists(result):
        with open(result, encoding="utf-8") as f:
            return json.load(f)
    for split in ("train", "test"):
        with open(os.path.join(out, f"{name}.{split}.json"), "w", encoding="utf-8") as f:
            json.dump(configuration(name, fusion, sharing, tasks, split, steps), f, indent=1)
    _, seconds = run_all([mm, "train", f"{name}.train.json", "--resume"], out)
    measured = json.loads(run_all([mm, "eval", name, f"{name}.test.json", "--json"], out)[0])
    row = {"fusion": fusion, "sharing": sharing, "parameters": sum(elements(t["shape"]) for t in tensors_of(os.path.join(out, name, "model.safetensors")).values()),
           "accuracy": {t: measured[t]["accuracy"] for t in tasks}, "rate": steps * BATCH / seconds, "steps": steps, "loss": last_loss(os.path.join(out, name, "log.jsonl"), tasks[0])}
    with open(result, "w", encoding="utf-8") as f:
        json.dump(row, f)
    return row


def table(rows):
    lines = ["| fusion | sharing | steps | parameters | answer | shape | color | samples/s | loss |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        measured = " | ".join(f"{100 * r['accuracy'][t]:.2f} %" if t in r["accuracy"] else "" for t in LABELS)
        lines.append(f"| {r['fusion']} | {r['sharing']} | {r['steps']:,} | {r['parameters']:,} | {measured} | {r['rate']:.0f} | {r['loss']:.3f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mm")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("only", nargs="*")
    parser.add_argument("--steps", type=int, default=3000)
    args = parser.parse_intermixed_args()
    os.makedirs(args.out, exist_ok=True)
    write_manifests(args.data, args.out)
    rows, total = [], sum(RATIOS.values())
    for fusion in FUSIONS:
        plans = [(sharing, tuple(LABELS), args.steps) for sharing in SHARINGS if (fusion, sharing) != ("late", "soft, cross-stitch")]
        plans += [(f"{t} alone", (t,), args.steps * RATIOS[t] // total) for t in LABELS]  # as many batches of the task as the others have of it
        for sharing, tasks, steps in plans:
            name = "_".join((fusion, *sharing.replace(",", "").replace("-", " ").split()))
            if not args.only or name in args.only:
                rows.append(run(os.path.abspath(args.mm), args.out, name, fusion, sharing, tasks, steps))
                print(f"{name}: {rows[-1]['accuracy']}", file=sys.stderr)
    text = table(rows)
    with open(os.path.join(args.out, "table.md"), "w", encoding="utf-8") as f:
        f.write(text)
    print(text, end="")


main()
