"""The run of emoji.json in torch and transformers, to compare with: the same architecture, initial distribution, pictures, captions, tokenizer (the one
that the run trained), augmentation, optimizer, schedule and number of steps; what is drawn is drawn by torch's generators.

    python3 torch_run.py FOLDER     where emoji.json, train.jsonl, test.jsonl and the trained run are; prints the recalls as JSON

SPDX-License-Identifier: MIT"""
import json
import math
import os
import random
import sys
import time

import numpy
import torch
from PIL import Image, ImageEnhance
from tokenizers import Tokenizer
from transformers import CLIPConfig, CLIPModel, get_cosine_schedule_with_warmup

folder = sys.argv[1]
with open(os.path.join(folder, "emoji.json"), encoding="utf-8") as f:
    config = json.load(f)
task = config["tasks"][0]
torch.manual_seed(config["seed"])
random.seed(config["seed"])
tokenizer = Tokenizer.from_file(os.path.join(folder, config["output"], "tokenizer.json"))
tokenizer.enable_truncation(task["max_tokens"])
tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")


def read(name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        records = [json.loads(line) for line in f]
    return [Image.open(r["image"]).convert("RGB") for r in records], [r["caption"] for r in records]


def augment(image):
    a = task["data"]["augment"]
    width, height = image.size
    for _ in range(10):
        area = width * height * random.uniform(*a["crop"]["scale"])
        ratio = math.exp(random.uniform(*map(math.log, a["crop"]["ratio"])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if w <= width and h <= height:
            x, y = random.randint(0, width - w), random.randint(0, height - h)
            image = image.resize(image.size, Image.BILINEAR, (x, y, x + w, y + h))
            break
    steps = [(ImageEnhance.Brightness, "brightness"), (ImageEnhance.Contrast, "contrast"), (ImageEnhance.Color, "saturation")]
    random.shuffle(steps)
    for step, name in steps:
        image = step(image).enhance(random.uniform(1 - a["color"][name], 1 + a["color"][name]))
    return image


def inputs(images, captions):
    pixels = torch.from_numpy(numpy.stack([numpy.asarray(i, dtype=numpy.float32) for i in images])).permute(0, 3, 1, 2) / 127.5 - 1
    encoded = tokenizer.encode_batch(captions)
    return {"pixel_values": pixels, "input_ids": torch.tensor([e.ids for e in encoded]), "attention_mask": torch.tensor([e.attention_mask for e in encoded])}


model = CLIPModel(CLIPConfig(**config["model"]["config"]))
for name, p in model.named_parameters():  # as libmm begins
    if name.endswith("bias"):
        torch.nn.init.zeros_(p)
    elif "norm" in name:
        torch.nn.init.ones_(p)
    elif name != "logit_scale":
        torch.nn.init.normal_(p, std=config["model"]["config"]["initializer_range"])
bare = [p for n, p in model.named_parameters() if n.endswith("bias") or "norm" in n or n == "logit_scale"]
rest = [p for n, p in model.named_parameters() if not (n.endswith("bias") or "norm" in n or n == "logit_scale")]
o = config["optimizer"]
optimizer = torch.optim.AdamW([{"params": rest}, {"params": bare, "weight_decay": 0}], lr=o["lr"], betas=o["betas"], eps=o["eps"], weight_decay=o["weight_decay"])
schedule = get_cosine_schedule_with_warmup(optimizer, config["schedule"]["warmup_steps"], config["steps"])

images, captions = read("train.jsonl")
order, began, cpu = [], time.time(), time.process_time()
model.train()
for step in range(config["steps"]):
    while len(order) < config["batch_size"]:
        order += torch.randperm(len(images)).tolist()
    batch, order = order[:config["batch_size"]], order[config["batch_size"]:]
    loss = model(**inputs([augment(images[i]) for i in batch], [captions[i] for i in batch]), return_loss=True).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip_norm"])
    optimizer.step()
    schedule.step()
    if (step + 1) % 50 == 0:
        print(f"step {step + 1}: loss {loss.item():.4f}", file=sys.stderr)
seconds, cpu = time.time() - began, time.process_time() - cpu

model.eval()
with torch.no_grad():
    out = model(**inputs(*read("test.jsonl")))
    similarities = out.image_embeds @ out.text_embeds.T
result = {"parameters": sum(p.numel() for p in model.parameters()), "seconds": round(seconds, 1), "processor_seconds": round(cpu, 1)}
for way, s in (("image_to_text", similarities), ("text_to_image", similarities.T)):
    rank = (s > s.diagonal()[:, None]).sum(1)
    result.update({f"{way}_recall@{k}": (rank < k).float().mean().item() for k in (1, 5, 10)})
print(json.dumps(result))
