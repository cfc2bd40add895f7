#!/usr/bin/env python3
"""Adapters that libmm writes, opened by peft: those of tests/golden/adapters, opened and written anew, which must give the outputs that peft gave;
and new ones of libmm's making, with which both must give the same; to 1e-4 of the largest. Prints a line each and exits 1 when one differs.
Needs the built library, torch, transformers 5, peft, and the driver:

  cc -std=c11 -O2 -Iinclude $(printf ' -I%s' src/*/) -o build/adapter_driver tests/golden/adapter_driver.c lib/libmm.a \\
     -lpng -ljpeg -lcjson -lutf8proc -lpcre2-8 -lopenblas -lsndfile -lm -pthread

usage: compare_adapters.py [--driver build/adapter_driver]
SPDX-License-Identifier: MIT"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "lib" / "python"))

import numpy as np
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

import libmm

LLAMA, LLAVA, VIT = "LlamaForCausalLM", "LlavaForConditionalGeneration", "ViTForImageClassification"
CLASSES = {"llama": LLAMA, "llama_default_keys": LLAMA, "llama_patterns": LLAMA, "llama_gguf": LLAMA, "gpt2": "GPT2LMHeadModel", "vit": VIT,
           "dinov2": "Dinov2Model", "clip": "CLIPModel", "bart": "BartForConditionalGeneration", "llava": LLAVA, "llava_pair": LLAVA}
NEW = [  # class, model, inputs (of that folder of adapters), targets
    (LLAMA, "llama_gqa", "llama", ["list", "all-linear"]), (LLAMA, "llama_no_prefix", "llama", ["list", "q_proj", "mlp.up_proj"]),
    (LLAMA, "gguf_f32/model.gguf", "llama_gguf", ["list", "q_proj", "k_proj", "lm_head"]),
    ("GPT2LMHeadModel", "gpt2", "gpt2", ["list", "c_attn", "c_fc"]), (VIT, "vit_class", "vit", ["list", "q_proj", "projection", "classifier"]),
    ("CLIPModel", "clip", "clip", ["expression", r"(text|vision)_model\..*\.(q_proj|fc1)"]),
    ("BartForConditionalGeneration", "bart", "bart", ["list", "all-linear"]), (LLAVA, "llava_pair", "llava", ["list", "q_proj", "linear_1"]),
    (LLAVA, "llava_pair", "llava", ["list", "all-linear"]),
]


def base_of(kind, path):
    options = dict(attn_implementation="eager", dtype=torch.float32)
    if path.suffix == ".gguf":
        options["gguf_file"] = path.name
        path = path.parent
    return getattr(transformers, kind).from_pretrained(path, **options).eval()


def peft_outputs(kind, path, adapter, inputs):
    model = PeftModel.from_pretrained(base_of(kind, path), adapter).eval()
    with torch.no_grad():
        return model(**inputs)


def compare(name, key, what, have, want):
    error = float(np.abs(have - want).max() / np.abs(want).max())
    print(f"{name:42} {key:18} {what:14} {error:.1e}{'' if error <= 1e-4 else '  DIFFERS'}")
    return not error <= 1e-4


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", default=str(ROOT / "build" / "adapter_driver"))
    driver = parser.parse_args().driver
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failed = 0
    for line in (HERE / "adapters" / "cases.txt").read_text().splitlines():
        name, model, _ = line.split()
        if name not in CLASSES:
            continue
        folder = HERE / "adapters" / name
        files = [HERE / "models" / f for f in model.split("+")]
        inputs, want = load_file(folder / "in.safetensors"), load_file(folder / "out.safetensors")
        with tempfile.TemporaryDirectory() as written:
            mine = libmm.open(files[0], projector=files[1] if len(files) > 1 else None).adapt(folder)
            mine.save_adapter(written)
            out = peft_outputs(CLASSES[name], files[0].parent if len(files) > 1 else files[0], written, inputs)
        have = mine.forward({k: v.numpy() for k, v in inputs.items()})
        for key, value in want.items():
            failed += compare(name, key, "peft, written", out[key].numpy(), value.numpy())
            failed += compare(name, key, "libmm", have[key], value.numpy())
    for kind, model, like, targets in NEW:
        path, folder = HERE / "models" / model, HERE / "adapters" / like
        inputs, keys = load_file(folder / "in.safetensors"), list(load_file(folder / "out.safetensors"))
        inputs = {k: v % 60 if k == "input_ids" and kind == LLAMA else v for k, v in inputs.items()}
        with tempfile.TemporaryDirectory() as made:
            subprocess.run([driver, path, made, *targets], check=True)
            out = peft_outputs(kind, path, made, inputs)
            base = libmm.open(path)
            arrays = {k: v.numpy() for k, v in inputs.items()}
            have, before = base.adapt(made).forward(arrays), base.forward(arrays)
        for key in keys:
            assert np.abs(have[key] - before[key]).max() > 0.02 * np.abs(have[key]).max(), (model, targets)
            failed += compare(f"{model} {' '.join(targets[1:])}"[:42], key, "peft, new", out[key].numpy(), have[key])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
