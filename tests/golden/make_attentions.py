#!/usr/bin/env python3
"""Attention of tiny checkpoints that other scripts here have written, as transformers' eager attention gives it: attentions/<name>.<case>.safetensors
holds, for <name>/<case>.in.safetensors under models, "attentions.<k>" and the like under our names (docs/models.md). One layer a file, but for the
smallest. Needs torch, transformers 5, safetensors. SPDX-License-Identifier: MIT"""
import json
import pathlib

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "attentions"


def model_of(name):
    folder = HERE / "models" / name
    kind = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    return kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def inputs_of(name, case):
    return load_file(HERE / "models" / name / f"{case}.in.safetensors")


def write(name, case, tensors):
    for k, v in tensors.items():
        assert torch.isfinite(v).all() and v.std() > 1e-4, (name, k)
    save_file({k: v.detach().float().clone().contiguous() for k, v in tensors.items()}, OUT / f"{name}.{case}.safetensors")


def make(name, case, layer, fields={"attentions": "attentions"}, **options):
    """`fields`: what transformers calls what we call so."""
    out = model_of(name)(**inputs_of(name, case), **options, output_attentions=True)
    write(name, case, {f"{ours}.{layer}": out[theirs][layer] for ours, theirs in fields.items()})


SIDES = {k: k for k in ("encoder_attentions", "decoder_attentions", "cross_attentions")}


def make_pooled():
    model, inputs = model_of("siglip_vision"), inputs_of("siglip_vision", "b1_24x24")
    out = model(**inputs, output_attentions=True)
    head = getattr(model, "vision_model", model).head
    mean = head.attention(head.probe.repeat(len(inputs["pixel_values"]), 1, 1), out.last_hidden_state, out.last_hidden_state)[1]
    write("siglip_vision", "b1_24x24", {"attentions.1": out.attentions[1], "mean_pooler_attentions": mean})


def make_towers():
    model, inputs = model_of("clip"), inputs_of("clip", "both")
    out = model(**inputs, output_attentions=True)
    write("clip", "both", {"vision_attentions.0": out.vision_model_output.attentions[0], "text_attentions.0": out.text_model_output.attentions[0]})


def make_llava(name, case, layer):
    model, inputs = model_of(name), inputs_of(name, case)
    out, seen = model(**inputs, output_attentions=True), model.model.vision_tower(inputs["pixel_values"], output_attentions=True)
    write(name, case, {f"attentions.{layer}": out.attentions[layer], "mean_attentions.0": out.attentions[0].mean(1),
                       "vision_attentions.0": seen.attentions[0]})


def make_paligemma(case):
    model, inputs = model_of("paligemma"), inputs_of("paligemma", case)
    write("paligemma", case, {"attentions.1": model(**inputs, output_attentions=True).attentions[1]})


def make_blips():
    model, inputs = model_of("blip_caption"), inputs_of("blip_caption", "padded")
    states = model.vision_model(inputs["pixel_values"], output_attentions=True)
    out = model.text_decoder(inputs["input_ids"], attention_mask=inputs["attention_mask"], encoder_hidden_states=states.last_hidden_state,
                             output_attentions=True)
    write("blip_caption", "padded", {"vision_attentions.0": states.attentions[0], "attentions.0": out.attentions[0],
                                     "cross_attentions.0": out.cross_attentions[0]})
    model, inputs = model_of("blip_answer"), inputs_of("blip_answer", "padded")
    states = model.vision_model(inputs["pixel_values"]).last_hidden_state
    question = model.text_encoder(inputs["input_ids"], attention_mask=inputs.get("attention_mask"), encoder_hidden_states=states, output_attentions=True)
    out = model.text_decoder(inputs["decoder_input_ids"], attention_mask=inputs.get("decoder_attention_mask"),
                             encoder_hidden_states=question.last_hidden_state, output_attentions=True)
    write("blip_answer", "padded", {"text_attentions.0": question.attentions[0], "text_cross_attentions.0": question.cross_attentions[0],
                                    "cross_attentions.0": out.cross_attentions[0], "attentions.0": out.attentions[0]})


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    OUT.mkdir(exist_ok=True)
    make("roberta", "pad_right", 1)
    make("deit", "b1_24x24", 0)
    make("dinov2_registers", "b1_24x24", 1)
    make("siglip2_vision", "sizes", 1)
    make("llama_gqa", "len7", 1)
    make("gpt2", "len6", 0)
    for layer, name in enumerate(("gemma2", "gemma3", "mistral")):
        out = model_of(name)(**inputs_of(name, "len70"), output_attentions=True)
        write(name, "len70", {f"mean_attentions.{layer % 2}": out.attentions[layer % 2].mean(1)})
    make("t5_relu", "padded", 0, SIDES)
    make("bart", "padded", 0, SIDES)
    make("whisper", "one", 0, {k: k for k in list(SIDES)[1:]})
    make("ved_bert", "padded", 0, SIDES)
    make_pooled()
    make_towers()
    make_llava("llava_clip", "two", 1)
    make_paligemma("prefix")
    make_blips()


if __name__ == "__main__":
    main()
