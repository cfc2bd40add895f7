#!/usr/bin/env python3
"""Gradients of whole models as torch's autograd has them, for tests/unit/test_model_gradients.c: of the tiny checkpoints and inputs that the other scripts wrote
under tests/golden/models, in float32 with eager attention and without dropout.

models/<name>.gradients.txt holds CASE and the OUTPUTs of a loss, which is the sum over outputs and their elements i, in order, of sin(0.7 i + 1) times the
element; rows of tokens that an attention mask hides are left out. Then a line a weight that the loss hangs on, under its name in the file:
NAME NORM SUM PROJECTION FIRST MIDDLE LAST of its gradient, where the projection is on sin(0.3 i + 2), and elements are in the order in which a matrix multiplies, [out, in].

Run after the scripts that write the models. Needs torch, transformers 5, safetensors.
SPDX-License-Identifier: MIT"""
import json
import pathlib
import tempfile

import torch
import transformers
from golden_models import ROOT
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

TOKENS = ["last_hidden_state"]
POOLED = ["last_hidden_state", "pooler_output"]
LOGITS = ["logits"]
RESIZED = {"interpolate_pos_encoding": True}
CASES = [  # model, case, outputs, options that transformers is given besides
    ("vit", "b1_24x40", POOLED, RESIZED),
    ("deit_teacher", "b1_24x24", LOGITS, {}),
    ("dinov2", "b2_28x42", POOLED, {}),
    ("dinov2_swiglu", "b1_14x49", POOLED, {}),
    ("dinov2_registers", "b2_48x16", POOLED, {}),
    ("vit_mae", "b2_24x24", ["loss"], {}),
    ("bert", "pad_types", POOLED, {}),
    ("bert_mlm", "len7", LOGITS, {}),
    ("distilbert_mlm", "pad_left", LOGITS, {}),
    ("roberta", "len7", POOLED, {}),
    ("clip", "both", ["logits_per_image", "text_embeds"], {}),
    ("siglip", "both", ["logits_per_image"], {}),
    ("siglip2", "both", ["logits_per_image", "image_embeds"], {}),
    ("llama_gqa", "pad_left", LOGITS, {}),
    ("mistral", "len70", LOGITS, {}),
    ("qwen2", "len70", LOGITS, {}),
    ("qwen3", "len6", LOGITS, {}),
    ("gemma", "len6", LOGITS, {}),
    ("gemma2", "len70", LOGITS, {}),
    ("gemma3", "len70", LOGITS, {}),
    ("phi3", "pad_right", LOGITS, {}),
    ("gpt2", "pad_right", LOGITS, {}),
    ("t5_relu", "padded", LOGITS, {}),
    ("t5_gated_bf16", "long", LOGITS, {}),
    ("bart", "padded", LOGITS, {}),
    ("blip_caption", "padded", LOGITS, {}),
    ("blip_retrieval", "padded", ["itm_score"], {}),
    ("ved_trocr", "left", LOGITS, RESIZED),
    ("whisper", "two", LOGITS, {}),
    ("llava_clip", "padded", LOGITS, {}),
    ("qwen2_vl", "images", LOGITS, "types"),
    ("qwen2_5_vl", "images", LOGITS, "types"),
    ("idefics3", "tiles", LOGITS, {}),
    ("paligemma", "prefix", LOGITS, {}),
    ("mllama", "mask", LOGITS, {}),
]


def waves(count, step, start):
    return torch.sin(torch.arange(count, dtype=torch.float64) * step + start)


def mask_of(inputs, output):
    return inputs.get("decoder_attention_mask" if "decoder_input_ids" in inputs else "attention_mask") if output in ("last_hidden_state", "logits") else None


def loss_of(name, case, outputs, have, inputs):
    want = load_file(ROOT / name / f"{case}.out.safetensors")
    total = 0
    for key in outputs:
        y = getattr(have, key)
        mask = mask_of(inputs, key)
        seen = torch.ones(y.shape) if mask is None or y.dim() != 3 or y.shape[:2] != mask.shape else mask[..., None].expand(y.shape)
        error = ((y.detach() - want[key]) * seen).abs().max() / want[key].abs().max()
        assert error < 1e-4, (name, case, key, float(error))
        total = total + (y.double() * waves(y.numel(), 0.7, 1).reshape(y.shape) * seen).sum()
    return total


def lines_of(model):
    """Gradients in the place of weights, so that they are saved under the names of files."""
    turned = {name + ".weight" for name, m in model.named_modules() if isinstance(m, Conv1D)}
    with torch.no_grad():
        for p in model.state_dict(keep_vars=True).values():
            p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = load_file(pathlib.Path(folder) / "model.safetensors")
    for name, g in sorted(tensors.items()):
        g = (g.T if name in turned else g).contiguous().double().flatten()
        if not g.any():
            continue
        numbers = (g.norm(), g.sum(), g @ waves(g.numel(), 0.3, 2), g[0], g[g.numel() // 2], g[-1])
        yield name + "".join(f" {float(n):.7g}" for n in numbers)


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name, case, outputs, options in CASES:
        kind = getattr(transformers, json.loads((ROOT / name / "config.json").read_text())["architectures"][0])
        model = kind.from_pretrained(ROOT / name, dtype=torch.float32, attn_implementation="eager").eval()
        inputs = load_file(ROOT / name / f"{case}.in.safetensors")
        if options == "types":  # which tokens are pictures, as the processor says
            options = {"mm_token_type_ids": (inputs["input_ids"] == 59).int() + 2 * (inputs["input_ids"] == 60).int()}
        for p in model.state_dict(keep_vars=True).values():  # of BART one is no parameter there
            p.requires_grad_()
        loss_of(name, case, outputs, model(**inputs, **options), inputs).backward()
        lines = list(lines_of(model))
        path = ROOT / f"{name}.gradients.txt"
        path.write_text("\n".join([" ".join([case, *outputs]), *lines]) + "\n")
        print(f"{name} {case}: {len(lines)} weights, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
