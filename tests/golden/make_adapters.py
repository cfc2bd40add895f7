#!/usr/bin/env python3
"""LoRA adapters for tiny checkpoints of tests/golden/models, written by peft, and what transformers with peft computes with them:

    adapters/cases.txt                line a case: NAME MODEL KIND     MODEL: a directory or file of models/, or two with a "+" between (a pair of GGUF files)
    adapters/<name>/                  adapter_config.json, adapter_model.safetensors, in.safetensors, out.safetensors

KIND is "exact", or "int8" for a block-quantized base, whose linear layers round their inputs to 8 bits, but for the adapter's. Matrices A and B are
random; the outputs with them merged were compared here. Needs torch, transformers 5, peft, gguf, safetensors. Run from anywhere.
SPDX-License-Identifier: MIT"""
import json
import re
import shutil

import torch
import transformers
from golden_models import HERE, ROOT, fake_int8, ids_of, pixels_of
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

OUT = HERE / "adapters"
CASES = []


def open_model(kind, path):
    options = dict(attn_implementation="eager", dtype=torch.float32)
    if path.suffix == ".gguf":
        return kind.from_pretrained(path.parent, gguf_file=path.name, **options).eval()
    return kind.from_pretrained(path, **options).eval()


def add_case(folder, model, kind="exact"):
    CASES.append(f"{folder.name} {model} {kind}")


def make(name, kind, model, inputs, outputs, seed, dtype=torch.float32, rounded=False, **options):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    base = open_model(kind, ROOT / model)
    with torch.no_grad():
        before = base(**inputs)
    tuned = get_peft_model(base, LoraConfig(**options)).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, p in sorted(tuned.named_parameters()):
            if "lora_" in key:
                p.copy_((torch.randn(p.shape, generator=g) * 0.2).to(dtype).float())
    tuned.save_pretrained(folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = model
    config["target_modules"] = config["target_modules"] if isinstance(config["target_modules"], str) else sorted(config["target_modules"])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({k: v.to(dtype).contiguous() for k, v in tensors.items()}, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    hooks = []
    if rounded:
        hooks = [m.base_layer.register_forward_pre_hook(lambda _, x: (fake_int8(x[0]),)) for m in tuned.modules() if hasattr(m, "base_layer")]
        hooks += [m.register_forward_pre_hook(lambda _, x: (fake_int8(x[0]),)) for key, m in tuned.named_modules()
                  if isinstance(m, torch.nn.Linear) and "lora_" not in key and not key.endswith("base_layer")]
    with torch.no_grad():
        out = {k: tuned(**inputs)[k] for k in outputs}
        for h in hooks:
            h.remove()
        merged = tuned.merge_and_unload()(**inputs)
    for k, v in out.items():
        assert (v - before[k]).abs().max() > 0.05 * v.abs().max(), (name, k)  # it does something
        assert rounded or (v - merged[k]).abs().max() < 2e-5 * v.abs().max(), (name, k)
    save_file({k: v.contiguous() for k, v in inputs.items()}, folder / "in.safetensors")
    save_file({k: v.clone().contiguous() for k, v in out.items()}, folder / "out.safetensors")
    for f in folder.iterdir():
        f.chmod(0o644)
    add_case(folder, model, "int8" if rounded else "exact")
    return folder


def again(name, of, model, rename):
    """The same adapter under other names; None: left out."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(OUT / of, folder)
    tensors = {rename(k): v for k, v in load_file(folder / "adapter_model.safetensors").items() if rename(k)}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    add_case(folder, model)


def old_vit(key):
    for new, old in (("vit.layers.", "vit.encoder.layer."), ("attention.q_proj", "attention.attention.query"), ("attention.o_proj", "attention.output.dense"),
                     ("mlp.fc1", "intermediate.dense")):
        key = key.replace(new, old)
    return key


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    t = transformers
    text = {"input_ids": ids_of(1, (2, 7), 60)}
    llama = make("llama", t.LlamaForCausalLM, "llama_gqa", text, ["logits"], 1, r=3, lora_alpha=6,
                 target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj", "lm_head"])
    again("llama_default_keys", llama.name, "llama_gqa", lambda k: re.sub(r"(lora_[AB])\.", r"\1.default.", k))
    make("llama_patterns", t.LlamaForCausalLM, "llama_bf16", text, ["logits"], 2, torch.bfloat16, r=4, lora_alpha=8, use_rslora=True,
         target_modules=r".*layers\.[01]\.(self_attn\.(q|k)_proj|mlp\.gate_proj)", rank_pattern={"layers.1.self_attn.q_proj": 6, "k_proj": 2},
         alpha_pattern={r"mlp\..*": 20})
    make("llama_gguf", t.LlamaForCausalLM, "gguf_f32/model.gguf", text, ["logits"], 3, torch.float16, r=2, lora_alpha=3, target_modules="all-linear")
    make("llama_q8_0", t.LlamaForCausalLM, "gguf_q8_0/model.gguf", text, ["logits"], 4, rounded=True, r=4, lora_alpha=4,
         target_modules=["q_proj", "k_proj", "gate_proj", "down_proj"])
    text = {"input_ids": ids_of(5, (2, 6), 40)}
    make("gpt2", t.GPT2LMHeadModel, "gpt2", text, ["logits"], 5, r=4, lora_alpha=8, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"])
    pixels = load_file(ROOT / "vit_class/b1_32x32.in.safetensors")
    vit = make("vit", t.ViTForImageClassification, "vit_class", pixels, ["logits"], 6, r=3, lora_alpha=6,
               target_modules=["q_proj", "o_proj", "fc1", "projection", "classifier"])
    again("vit_old_names", vit.name, "vit_class", old_vit)
    make("dinov2", t.Dinov2Model, "dinov2", {"pixel_values": pixels_of(7, (1, 3, 28, 28))}, ["last_hidden_state"], 7, r=2, lora_alpha=4,
         target_modules="all-linear")
    make("clip", t.CLIPModel, "clip", load_file(ROOT / "clip/both.in.safetensors"), ["text_embeds", "image_embeds"], 8, r=2, lora_alpha=5,
         target_modules=["q_proj", "out_proj", "fc2", "visual_projection"])
    make("bart", t.BartForConditionalGeneration, "bart", {"input_ids": ids_of(9, (1, 6), 40), "decoder_input_ids": ids_of(10, (1, 4), 40)}, ["logits"], 9,
         r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "fc1"])
    llava = make("llava", t.LlavaForConditionalGeneration, "llava_pair", load_file(ROOT / "llava_pair/two.in.safetensors"), ["logits"], 10, r=3,
                 lora_alpha=3, target_modules=["q_proj", "k_proj", "linear_1", "fc1"])
    again("llava_pair", llava.name, "llava_pair/model.gguf+llava_pair/mmproj.gguf",
          lambda k: None if "vision_tower.encoder.layers.2." in k else k)  # the layer that nothing uses is not in the file
    (OUT / "cases.txt").write_text("".join(line + "\n" for line in CASES))
    print(f"{len(CASES)} cases, {sum(f.stat().st_size for f in OUT.rglob('*') if f.is_file()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
