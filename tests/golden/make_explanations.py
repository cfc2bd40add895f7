#!/usr/bin/env python3
"""Where the models of make_pipelines.py look: attention rollout (arXiv:2005.00928) with transformers' eager attention in float64, laid over the picture.

    explanations/<model>.safetensors   map [rows, cols], and for those that answer with text prompt_ids and generated_ids, those of a case of
                                       pipelines/<model>.txt
    explanations/spotlight/            a Vision Transformer whose weights were set by hand so that its class token attends to the brightest patch

Needs torch, transformers 5, pillow. Run at the top of the repository. SPDX-License-Identifier: MIT"""
import json
import pathlib

import numpy as np
import torch
import transformers as tf
from make_pipelines import EAGER, ROOT, picture
from safetensors.torch import save_file

OUT = pathlib.Path("tests/golden/explanations")


def mean(attention):
    """[T, S] of one picture, over heads."""
    return attention[0].double().mean(0).numpy()


def roll(v, attentions):
    for a in reversed(attentions):
        v = (v + v @ mean(a)) / 2
    return v


def place(weights, view, size):
    """Integrals of a piecewise constant density between the edges of the cells of the whole picture."""
    for axis, (low, high), whole in ((1, view[::2], size[0]), (0, view[1::2], size[1])):
        n = weights.shape[axis]
        edges, cells = np.linspace(low, high, n + 1), max(1, int(np.floor(whole * n / (high - low) + 0.5)))
        sums = np.concatenate([np.zeros_like(weights.take([0], axis)), weights.cumsum(axis)], axis)
        at = np.linspace(0, whole, cells + 1)
        weights = np.diff(np.apply_along_axis(lambda c: np.interp(at, edges, c), axis, sums), axis=axis)
    return weights / weights.sum()


def view_of(processor, size):
    """What the array shows, of a picture resized to its shorter side and cropped in the middle, or resized whole."""
    if not getattr(processor, "do_center_crop", False):
        return (0, 0, *size)
    short, crop = processor.size["shortest_edge"], processor.crop_size
    resized = [int(short * s / min(size)) for s in size]
    left, top = [(r - c) // 2 for r, c in zip(resized, (crop["width"], crop["height"]))]
    return tuple(e * s / r for e, s, r in zip((left, top, left + crop["width"], top + crop["height"]), size * 2, resized * 2))


def case_of(name, how, file):
    for line in (ROOT / f"{name}.txt").read_text().splitlines():
        fields = line.split("\t")
        if fields[0] == how and fields[1] == f"image:{file}":
            return fields[2], *([int(x) for x in c.split()] for c in fields[3:])


def load(name):
    folder = ROOT / name
    kind = getattr(tf, json.loads((folder / "config.json").read_text())["architectures"][0])
    return kind.from_pretrained(folder, dtype=torch.float32, **EAGER).eval(), tf.AutoImageProcessor.from_pretrained(folder, use_fast=False)


def write(name, weights, prompt=(), generated=()):
    ids = {"prompt_ids": torch.tensor(prompt, dtype=torch.int32), "generated_ids": torch.tensor(generated, dtype=torch.int32)} if generated else {}
    save_file({"map": torch.tensor(weights.copy(), dtype=torch.float32), **ids}, OUT / f"{name}.safetensors")
    print(name, weights.shape, weights.min(), weights.max())


def answer_rows(prompt, generated):
    """Uniform over the tokens at which the answer's were chosen."""
    v = np.zeros(len(prompt) + len(generated))
    v[len(prompt) - 1:-1] = 1 / len(generated)
    return v


def fused(name, how, file):
    """The picture among the tokens."""
    model, processor = load(name)
    image, (text, prompt, generated) = picture(file), case_of(name, how, file)
    media = processor([image], return_tensors="pt")
    ids = torch.tensor([prompt + generated])
    if name == "paligemma":
        media["token_type_ids"] = (torch.arange(ids.shape[1])[None] >= len(prompt)).long()
    if name == "qwen2_vl":
        media["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    out = model(input_ids=ids, **media, output_attentions=True, use_cache=False)
    v = roll(answer_rows(prompt, generated), out.attentions)
    v = v[(ids[0] == getattr(model.config, "image_token_id", None)).numpy()]
    if name == "qwen2_vl":
        grid = media["image_grid_thw"][0, 1:] // 2
        v = v.reshape(*grid)
    elif name == "smolvlm":  # tiles, then the whole picture
        rows, cols = (n.item() // 21 for n in processor_size(processor, image))
        side = int(round((len(v) / (rows * cols + 1)) ** 0.5))
        tiles = v[:-side * side].reshape(rows, cols, side, side).transpose(0, 2, 1, 3).reshape(rows * side, cols * side)
        v = tiles + np.kron(v[-side * side:].reshape(side, side), np.ones((rows, cols))) / (rows * cols)
    else:
        seen = model.model.vision_tower(media["pixel_values"], output_attentions=True).attentions
        layers = range(len(seen) + 1)[getattr(model.config, "vision_feature_layer", -1)]
        before = seen[0].shape[-1] - len(v)
        v = roll(np.concatenate([np.zeros(before), v]), seen[:layers])[before:]
        v = v.reshape(int(len(v) ** 0.5), -1)
    write(name, place(v, view_of(processor, image.size), image.size), prompt, generated)


def processor_size(processor, image):
    """Height and width in whole tiles, from how many arrays come out: the picture is wider than high by the tiles' ratio."""
    n = processor([[image]], return_tensors="pt")["pixel_values"].shape[1] - 1
    sides = [(r, n // r) for r in range(1, n + 1) if n % r == 0]
    best = min(sides, key=lambda s: abs(s[1] / s[0] - image.size[0] / image.size[1]))
    return torch.tensor(best) * 21


def across(cross, rows):
    return rows @ np.mean([mean(a) for a in cross], 0)


def from_tower(v, attentions, processor, image):
    v = roll(v, attentions)
    patches = v[len(v) - int((len(v)) ** 0.5) ** 2:]
    return place(patches.reshape(int(len(patches) ** 0.5), -1), view_of(processor, image.size), image.size)


def caption(file):
    model, processor = load("blip_caption")
    image, (text, prompt, generated) = picture(file), case_of("blip_caption", "raw", file)
    seen = model.vision_model(processor([image], return_tensors="pt")["pixel_values"], output_attentions=True)
    out = model.text_decoder(torch.tensor([prompt + generated]), encoder_hidden_states=seen.last_hidden_state, output_attentions=True)
    v = across(out.cross_attentions, answer_rows(prompt, generated))
    write("blip_caption", from_tower(v, seen.attentions, processor, image), prompt, generated)


def answer(file):
    model, processor = load("blip_answer")
    image, (text, prompt, generated) = picture(file), case_of("blip_answer", "raw", file)
    words = tf.AutoTokenizer.from_pretrained(ROOT / "blip_answer")(text, return_tensors="pt")["input_ids"]
    seen = model.vision_model(processor([image], return_tensors="pt")["pixel_values"], output_attentions=True)
    question = model.text_encoder(words, encoder_hidden_states=seen.last_hidden_state, output_attentions=True)
    out = model.text_decoder(torch.tensor([prompt + generated]), encoder_hidden_states=question.last_hidden_state, output_attentions=True)
    v = across(question.cross_attentions, across(out.cross_attentions, answer_rows(prompt, generated)))
    write("blip_answer", from_tower(v, seen.attentions, processor, image), prompt, generated)


def page(file):
    model, processor = load("trocr")
    image, (text, prompt, generated) = picture(file), case_of("trocr", "raw", file)
    out = model(processor([image], return_tensors="pt")["pixel_values"], decoder_input_ids=torch.tensor([prompt + generated]),
                output_attentions=True)
    v = across(out.cross_attentions, answer_rows(prompt, generated))
    write("trocr", from_tower(v, out.encoder_attentions, processor, image), prompt, generated)


def towers(name, file):
    model, processor = load(name)
    image = picture(file)
    pixels = processor([image], return_tensors="pt")["pixel_values"]
    out = model.vision_model(pixels, output_attentions=True)
    n = out.attentions[0].shape[-1]
    v = np.eye(n)[0]
    if name == "siglip":
        head = model.vision_model.head
        v = head.attention(head.probe, out.last_hidden_state, out.last_hidden_state)[1][0, 0].double().numpy()
    write(name, from_tower(v, out.attentions, processor, image))


def spotlight():
    """Values so small that normalization with an epsilon of 1 only takes the mean away: the key is the patch's brightness, the query is constant."""
    config = tf.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=32, patch_size=4, layer_norm_eps=1.0,
                          id2label={0: "dark", 1: "light"}, label2id={"dark": 0, "light": 1})
    model = tf.ViTForImageClassification(config)
    for p in model.parameters():
        p.zero_()
    layer = {n: p for n, p in model.named_parameters()}
    for n, p in layer.items():
        if "layernorm" in n and n.endswith("weight"):
            p.fill_(1)
        if n.endswith("patch_embeddings.projection.weight"):
            p[0] = 0.1 / p[0].numel()
        if n.endswith("q_proj.bias"):
            p[0] = 100
        if n.endswith("k_proj.weight"):
            p[0, 0] = 10
    model.save_pretrained(OUT / "spotlight")
    tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_mean=[0, 0, 0], image_std=[1, 1, 1]).save_pretrained(
        OUT / "spotlight")
    for f in (OUT / "spotlight").glob("*"):
        f.chmod(0o644)


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tf.logging.set_verbosity_error()
    OUT.mkdir(exist_ok=True)
    house, tree = "examples/images/house.png", "tests/golden/images/jpeg_420.jpg"
    towers("clip", tree)
    towers("siglip", tree)
    fused("llava", "chat", tree)
    fused("paligemma", "raw", house)
    fused("qwen2_vl", "chat", tree)
    fused("smolvlm", "chat", tree)
    caption(tree)
    answer(tree)
    page(tree)
    spotlight()


if __name__ == "__main__":
    main()
