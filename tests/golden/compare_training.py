#!/usr/bin/env python3
"""Train with `mm train` and with torch, and compare the losses of the first steps. Not part of `make check`: it needs torch, transformers 5, tokenizers, pillow
and, for the case lora, peft.

Both sides begin with the same weights (a directory that transformers wrote), take the same examples in the same order (data_order.h's permutation, written
down here a second time), and step by AdamW with decay for matrices alone, clipped gradients, and a warm-up that goes over into a cosine. The losses are those
that transformers' models give by themselves (`labels=`, `return_loss=True`); what is hidden of a text or picture is drawn as corruption.h says.

usage: compare_training.py [--mm build/mm] [--steps 50] [--plot curves.png] [CASE...]
SPDX-License-Identifier: MIT"""
import argparse
import fnmatch
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers as hf
from PIL import Image, ImageDraw
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

MOST = 1e-3  # between two losses of one step
SEED, BATCH, WARMUP, LR, DECAY, CLIP = 7, 8, 5, 3e-3, 0.05, 1.0
NO_DECAY = ["*.bias", "*norm*", "*ln_*", "*logit_scale"]
COLORS = {"red": (220, 40, 30), "green": (40, 180, 60), "blue": (30, 60, 210)}
SHAPES = ("circle", "square", "triangle")
SIDE, PATCH = 16, 4
LIBRARY = dict(attn_implementation="eager")
SMALL = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, initializer_range=0.1)


# What libmm draws: random.h, data_order.h, corruption.h

def random_at(seed, stream, index):
    """Philox4x32-10 (Salmon et al. 2011): counter (index, stream)."""
    word = 0xFFFFFFFF
    c, key = [index & word, index >> 32, stream & word, stream >> 32], [seed & word, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ key[0], b & word, (a >> 32) ^ c[3] ^ key[1], a & word]
        key = [(key[0] + 0x9E3779B9) & word, (key[1] + 0xBB67AE85) & word]
    return c[1] << 32 | c[0]


def below(key, stream, index, n):
    return int((random_at(key, stream, index) >> 11) * 2.0**-53 * n)


TASK_SEED = random_at(SEED, 0x7461736B, 0)  # of the first task


def example_of(position, count):
    """Which example comes at a position, and in which epoch: a Feistel network over the epoch's examples."""
    epoch, x = divmod(position, count)
    key = random_at(TASK_SEED, 0x4F524452, epoch)
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    while True:
        left, right = x >> half, x & ((1 << half) - 1)
        for turn in range(8):
            left, right = right, left ^ (random_at(key, turn, right) & ((1 << half) - 1))
        x = left << half | right
        if x < count:
            return epoch, x


def masked(ids, special, epoch, index, mask, vocabulary):
    """BERT's 15 %, of which 80 % are hidden and 10 % are others."""
    key = random_at(TASK_SEED, epoch, index)
    free = [i for i, t in enumerate(ids) if t not in special]
    ids, labels = list(ids), [-100] * len(ids)
    for k in range(max(1, round(0.15 * len(free)))):
        other = k + below(key, 0, k, len(free) - k)
        free[k], free[other] = free[other], free[k]
        i = free[k]
        u = (random_at(key, 1, i) >> 11) * 2.0**-53
        labels[i] = ids[i]
        if u < 0.9:
            ids[i] = mask if u < 0.8 else below(key, 2, i, vocabulary)
    return ids, labels


# Data: pictures of a shape, and what is said about them

def examples(folder, count=48):
    rng, out = random.Random(3), []
    for i in range(count):
        color, shape = rng.choice(list(COLORS)), rng.choice(SHAPES)
        picture = Image.new("RGB", (SIDE, SIDE), tuple(rng.randrange(150, 256) for _ in range(3)))
        draw, (x, y), r = ImageDraw.Draw(picture), (rng.randint(5, 10), rng.randint(5, 10)), rng.randint(3, 5)
        box = (x - r, y - r, x + r, y + r)
        if shape == "circle":
            draw.ellipse(box, COLORS[color])
        elif shape == "square":
            draw.rectangle(box, COLORS[color])
        else:
            draw.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], COLORS[color])
        picture.save(folder / f"{i}.png")
        about_color = rng.random() < 0.5
        out.append({"image": f"{i}.png", "label": shape, "caption": f"a {color} {shape}", "text": f"There is a {color} {shape}, and it is {rng.choice(['small', 'near', 'seen by all'])}.",
                    "question": "What color is it?" if about_color else "What is there?", "answer": color if about_color else shape})
    (folder / "data.jsonl").write_text("".join(json.dumps(e) + "\n" for e in out))
    return out


def pixels(folder, batch):
    x = np.stack([np.asarray(Image.open(folder / e["image"])) for e in batch]).astype(np.float32)
    return torch.from_numpy((x / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous()


def write_processor(folder, kind):
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": kind, "do_resize": False, "do_center_crop": False, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "do_convert_rgb": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": SIDE, "width": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}))


def byte_level(data, template=None, extra=(), **special):
    """A byte-level BPE of what is said."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.train_from_iterator([v for e in data for v in e.values()],
                          trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in [*special.values(), *extra]])
    if template:
        t.post_processor = processors.TemplateProcessing(single=template, pair=None, special_tokens=[(s, t.token_to_id(s)) for s in template.split() if s != "$A"])
    return hf.PreTrainedTokenizerFast(tokenizer_object=t, **special)


def padded(rows, fill):
    width = max(map(len, rows))
    return torch.tensor([r + [fill] * (width - len(r)) for r in rows])


# Cases: each saves a model with all that belongs to it and returns it, what `mm train` is told besides, and what torch is given for a batch

def vit(folder, data):
    config = hf.ViTConfig(image_size=SIDE, patch_size=PATCH, id2label=dict(enumerate(SHAPES)), label2id={s: i for i, s in enumerate(SHAPES)}, **SMALL, **LIBRARY)
    model = hf.ViTForImageClassification(config)
    model.save_pretrained(folder)
    write_processor(folder, "ViTImageProcessor")
    return model, {"task": {"objective": "classification"}}, lambda at, batch: dict(
        pixel_values=pixels(at, [e for e, *_ in batch]), labels=torch.tensor([SHAPES.index(e["label"]) for e, *_ in batch]))


def causal(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

    def inputs(_, batch):
        ids = [tokenizer(e["text"]).input_ids + [tokenizer.eos_token_id] for e, *_ in batch]
        return dict(input_ids=padded(ids, 0), labels=padded(ids, -100))

    return inputs


def gpt2(folder, data):
    t = byte_level(data, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    model = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=len(t), n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=t.bos_token_id, eos_token_id=t.eos_token_id,
                                             resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **LIBRARY))
    return model, {"task": {"objective": "causal_lm"}}, causal(model, t, folder)


def llama(data, *extra):
    t = byte_level(data, "<s> $A", extra, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    return t, hf.LlamaConfig(vocab_size=len(t), num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=t.bos_token_id,
                             eos_token_id=t.eos_token_id, pad_token_id=t.pad_token_id, **SMALL, **LIBRARY)


def lora(folder, data):
    t, config = llama(data)
    model = hf.LlamaForCausalLM(config)
    return model, {"task": {"objective": "causal_lm"}, "lora": {"r": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj", "up_proj"]}}, causal(model, t, folder)


def clip(folder, data):
    t = byte_level(data, "<s> $A </s>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    text = dict(vocab_size=len(t), max_position_embeddings=16, bos_token_id=t.bos_token_id, eos_token_id=t.eos_token_id, pad_token_id=t.pad_token_id, **SMALL)
    model = hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=dict(image_size=SIDE, patch_size=PATCH, **SMALL), projection_dim=24, **LIBRARY))
    model.save_pretrained(folder)
    t.save_pretrained(folder)
    write_processor(folder, "CLIPImageProcessor")

    def inputs(at, batch):
        ids = [t(e["caption"]).input_ids for e, *_ in batch]
        return dict(input_ids=torch.tensor([i + [t.pad_token_id] * (16 - len(i)) for i in ids]), pixel_values=pixels(at, [e for e, *_ in batch]), return_loss=True)

    return model, {"task": {"objective": "contrastive"}}, inputs


def llava(folder, data):
    t, text = llama(data, "<image>")
    image, places = t.convert_tokens_to_ids("<image>"), (SIDE // PATCH) ** 2
    vision = hf.CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, **SMALL)
    model = hf.LlavaForConditionalGeneration(hf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, tie_word_embeddings=True, **LIBRARY))
    model.save_pretrained(folder)
    t.save_pretrained(folder)
    write_processor(folder, "CLIPImageProcessor")

    def inputs(at, batch):
        asked = [t("USER: " + "<image>" * places + "\n" + e["question"] + " ASSISTANT: ").input_ids for e, *_ in batch]
        told = [t(e["answer"], add_special_tokens=False).input_ids + [t.eos_token_id] for e, *_ in batch]
        return dict(input_ids=padded([a + b for a, b in zip(asked, told)], t.pad_token_id), labels=padded([[-100] * len(a) + b for a, b in zip(asked, told)], -100),
                    pixel_values=pixels(at, [e for e, *_ in batch]))

    return model, {"task": {"objective": "vqa", "prompt": "USER: <image>\n{question} ASSISTANT: "}, "train_only": "*multi_modal_projector*"}, inputs


def bert(folder, data):
    special = dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]")
    words = sorted({w for e in data for w in e["text"].replace(".", " .").replace(",", " ,").split()})
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate([*special.values(), *words])}, unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=None, special_tokens=[(s, t.token_to_id(s)) for s in ("[CLS]", "[SEP]")])
    t = hf.BertTokenizerFast(tokenizer_object=t, **special)
    model = hf.BertForMaskedLM(hf.BertConfig(vocab_size=len(t), max_position_embeddings=64, hidden_dropout_prob=0, attention_probs_dropout_prob=0, **SMALL, **LIBRARY))
    model.save_pretrained(folder)
    t.save_pretrained(folder)

    def inputs(_, batch):
        rows = [masked(t(e["text"]).input_ids, t.all_special_ids, epoch, index, t.mask_token_id, len(t)) for e, epoch, index in batch]
        ids = padded([r[0] for r in rows], -1)
        return dict(input_ids=ids.clamp(min=0), attention_mask=(ids >= 0).long(), labels=padded([r[1] for r in rows], -100))

    return model, {"task": {"objective": "masked_lm"}}, inputs


def mae(folder, data):
    model = hf.ViTMAEForPreTraining(hf.ViTMAEConfig(image_size=SIDE, patch_size=PATCH, decoder_hidden_size=24, decoder_num_hidden_layers=1, decoder_num_attention_heads=4,
                                                    decoder_intermediate_size=48, **SMALL, **LIBRARY))
    model.save_pretrained(folder)
    write_processor(folder, "ViTImageProcessor")

    def inputs(at, batch):
        keys = [random_at(TASK_SEED, epoch, index) for _, epoch, index in batch]
        noise = [[(random_at(k, 0, i) >> 40) * 2.0**-24 for i in range((SIDE // PATCH) ** 2)] for k in keys]
        return dict(pixel_values=pixels(at, [e for e, *_ in batch]), noise=torch.tensor(noise))

    return model, {"task": {"objective": "mae"}}, inputs


CASES = {"vit": vit, "gpt2": gpt2, "clip": clip, "llava": llava, "lora": lora, "bert": bert, "mae": mae}


# The two sides

def run_mm(mm, folder, model, told, steps, output, lr=LR):
    names = [n for n, p in model.named_parameters()]
    config = {"output": output, "seed": SEED, "steps": steps, "batch_size": BATCH, "clip_norm": CLIP, "model": {"from": "model"}, "log_every": 1,
              "tasks": [{"name": "task", "data": {"train": "data.jsonl"}, **told["task"]}], **{k: v for k, v in told.items() if k != "task"},
              "optimizer": {"name": "adamw", "lr": lr, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": DECAY,
                            "groups": [{"match": [p for p in NO_DECAY if fnmatch.filter(names, p)], "weight_decay": 0}]},
              "schedule": {"name": "cosine", "warmup_steps": WARMUP}}
    (folder / f"{output}.json").write_text(json.dumps(config))
    subprocess.run([mm, "train", folder / f"{output}.json"], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / output / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def run_torch(folder, model, told, inputs, data, steps):
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad and ("train_only" not in told or fnmatch.fnmatchcase(n, told["train_only"]))}
    for n, p in model.named_parameters():
        p.requires_grad_(n in trained)
    bare = [p for n, p in trained.items() if any(fnmatch.fnmatchcase(n, pattern) for pattern in NO_DECAY)]
    rest = [p for p in trained.values() if all(p is not b for b in bare)]
    optimizer = torch.optim.AdamW([{"params": rest, "weight_decay": DECAY}, {"params": bare, "weight_decay": 0}], lr=LR, betas=(0.9, 0.999), eps=1e-8)
    schedule = hf.get_cosine_schedule_with_warmup(optimizer, WARMUP, steps)
    losses = []
    model.train()
    for step in range(steps):
        places = [example_of(step * BATCH + i, len(data)) for i in range(BATCH)]
        loss = model(**inputs(folder, [(data[index], epoch, index) for epoch, index in places])).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), CLIP)
        optimizer.step()
        schedule.step()
    return losses


def with_peft(model, adapter):
    from peft import PeftModel
    return PeftModel.from_pretrained(model, adapter, is_trainable=True)


def plot(curves, path):
    """Each case in a frame: torch's losses as a line, libmm's as dots on it."""
    wide, high, edge = 300, 180, 24
    picture = Image.new("RGB", (wide * min(len(curves), 4), high * ((len(curves) + 3) // 4)), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, mine, theirs) in enumerate(curves):
        x0, y0, top = i % 4 * wide + edge, i // 4 * high + edge, max(theirs)
        low = min(theirs)
        at = lambda k, v: (x0 + k * (wide - 2 * edge) / max(1, len(theirs) - 1), y0 + (top - v) / (top - low) * (high - 2 * edge))
        draw.rectangle((x0, y0, x0 + wide - 2 * edge, y0 + high - 2 * edge), outline=(200, 200, 200))
        draw.line([at(k, v) for k, v in enumerate(theirs)], (240, 140, 40), 3)
        for k, v in enumerate(mine):
            x, y = at(k, v)
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), (30, 70, 200))
        draw.text((x0, y0 - 14), f"{name}: loss {top:.2f} to {low:.2f}", "black")
    picture.save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mm", default="build/mm")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--plot")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    args = parser.parse_args()
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    torch.set_num_threads(1)
    curves, failed = [], 0
    for name in args.cases:
        with tempfile.TemporaryDirectory() as at:
            folder = pathlib.Path(at)
            (folder / "model").mkdir()
            data = examples(folder)
            torch.manual_seed(11)
            model, told, inputs = CASES[name](folder / "model", data)
            if "lora" in told:  # a step at rate 0 leaves the adapter as it begins
                run_mm(args.mm, folder, model, told, 1, "begin", 0)
                model = with_peft(model, folder / "begin")
            mine = run_mm(args.mm, folder, model, told, args.steps, "run")
            theirs = run_torch(folder, model, told, inputs, data, args.steps)
        difference = max(abs(a - b) for a, b in zip(mine, theirs)) if len(mine) == len(theirs) else float("inf")
        wrong = not difference <= MOST
        failed += wrong
        print(f"{name:6} {len(mine)} steps, loss {theirs[0]:.4f} to {theirs[-1]:.4f} (torch) and {mine[-1]:.4f} (libmm), at most {difference:.1e} apart{' DIFFERS' if wrong else ''}",
              flush=True)
        curves.append((name, mine, theirs))
    if args.plot:
        plot(curves, args.plot)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
