#!/usr/bin/env python3
"""Open what libmm saves with transformers. Not part of `make check`: it needs torch, transformers 5 and safetensors.

Every tiny checkpoint of tests/golden/models is made anew from its configuration, opened and saved as it is, and opened and saved as bfloat16; transformers opens
each directory, and must find every tensor it wants and none that it does not, and compute what libmm computes from the same files.

usage: PYTHONPATH=lib/python compare_saved_models.py [NAME...]
SPDX-License-Identifier: MIT"""
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

import libmm

ROOT = pathlib.Path(__file__).resolve().parent / "models"
MOST = 1e-4  # of the largest value of an output
# What no output hangs on, and libmm does not keep: the mask of DINOv2's training, the table that an untied BART shares with nobody, and the biases that an
# untied head leaves unread. The poolers that some checkpoints here were saved without are indifferent as well.
INDIFFERENT = ("mask_token", "shared.weight", "cls.predictions.bias", "lm_head.bias", "pooler.dense.")


def cases():
    for path in sorted(ROOT.glob("*.cases.txt")):
        for line in path.read_text().splitlines():
            name, case, _ = line.split()
            config = ROOT / name / "config.json"
            if config.exists() and hasattr(transformers, json.loads(config.read_text())["architectures"][0]):  # a composite of our own it has not
                yield name, case


def open_there(folder, config):
    """The model, and what it missed of the files or found in excess."""
    cls = getattr(transformers, config["architectures"][0])
    model, info = cls.from_pretrained(folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager")
    for module in model.modules():  # transformers 5 leaves TrOCR's computed positions, which are in no file, without values
        table = getattr(module, "weights", None)
        if isinstance(table, torch.Tensor) and table.is_meta:
            module.weights = module.get_embedding(*table.shape, module.padding_idx)
    return model.eval(), [f"{kind}: {key}" for kind, keys in info.items() if kind.endswith("_keys") for key in keys
                          if not any(part in str(key) for part in INDIFFERENT)]


def reference(folder, inputs):
    config = json.loads((folder / "config.json").read_text())
    model, wrong = open_there(folder, config)
    extra = {}
    if "image_grid_thw" in inputs or "video_grid_thw" in inputs:
        ids = inputs["input_ids"]
        extra["mm_token_type_ids"] = (ids == config["image_token_id"]).int() + 2 * (ids == config["video_token_id"]).int()
    with torch.no_grad():
        try:
            return model(**inputs, **extra), wrong
        except (RuntimeError, ValueError):  # pictures of another size than the model's
            return model(**inputs, **extra, interpolate_pos_encoding=True), wrong


def compare(folder, inputs):
    """The largest relative error of all outputs, how many there were, and what transformers missed."""
    expected, wrong = reference(folder, inputs)
    have = libmm.open(folder).forward({k: v.numpy() for k, v in inputs.items()})
    worst, count = 0.0, 0
    for name, h in have.items():
        w = getattr(expected, name, None)
        if not isinstance(w, torch.Tensor) or tuple(w.shape) != h.shape or h.dtype != np.float32:
            continue
        w = w.numpy()
        side = "decoder_attention_mask" if "decoder_input_ids" in inputs and not name.startswith("encoder_") else "attention_mask"
        mask = inputs.get(side)
        if mask is not None and h.ndim == 3 and tuple(mask.shape) == h.shape[:2]:
            h, w = h[mask.numpy() != 0], w[mask.numpy() != 0]
        worst = max(worst, float(np.abs(h - w).max() / max(np.abs(w).max(), 1e-30)))
        count += 1
    return worst, count, wrong


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    wanted, done, bad, total = sys.argv[1:], set(), 0, 0
    for name, case in cases():
        if name in done or (wanted and name not in wanted):
            continue
        done.add(name)
        inputs = load_file(ROOT / name / f"{case}.in.safetensors")
        config = json.loads((ROOT / name / "config.json").read_text())
        for part in [config] + [v for v in config.values() if isinstance(v, dict) and "model_type" in v]:
            part["initializer_range"] = part["init_std"] = 0.2  # so large that every part of the network matters
        for how in ("created", "opened", "bfloat16"):
            with tempfile.TemporaryDirectory() as at:
                folder = pathlib.Path(at)
                try:
                    model = libmm.Model.create(config, seed=5) if how == "created" else libmm.open(ROOT / name)
                    model.save(folder, "BF16" if how == "bfloat16" else None)
                    worst, count, wrong = compare(folder, inputs)
                except Exception as e:  # the next may do
                    worst, count, wrong = float("inf"), 0, [f"{type(e).__name__}: {e}"]
            total += 1
            fails = worst > MOST or not count or bool(wrong)
            bad += fails
            print(f"{name:28} {how:9} {config['architectures'][0]:44} {count} outputs {worst:.1e} {'DIFFERS ' + '; '.join(wrong[:4]) if fails else ''}", flush=True)
    print(f"{total} directories of {len(done)} models, {bad} differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
