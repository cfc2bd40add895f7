#!/usr/bin/env python3
"""Open what `mm train` saved with transformers, peft and tokenizers, and compare outputs. Not part of `make check`: it needs torch, transformers 5, tokenizers,
pillow and peft.

Each run trains a few steps, from weights that transformers wrote (those of compare_training.py) or from new ones, with its tokenizer trained in the run; the
reference opens the run's output folder, or what "save_as" wrote there, must find every tensor and none in excess, and compute what libmm computes.

usage: PYTHONPATH=lib/python compare_trained.py [--mm build/mm] [CASE...]
SPDX-License-Identifier: MIT"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers as hf
from tokenizers import Tokenizer

import compare_training as runs
import libmm

MOST = 1e-4  # of the largest value of an output
STEPS = 8
SMALL, SIDE, PATCH = runs.SMALL, runs.SIDE, runs.PATCH
PICTURE = "<image>"
# What no output hangs on, and libmm does not keep.
INDIFFERENT = ("mask_token", "cls.predictions.bias", "lm_head.bias")
VISION = {"clip": {"model_type": "clip_vision_model", "image_size": SIDE, "patch_size": PATCH, **SMALL},
          "vit": {"model_type": "vit", "image_size": SIDE, "patch_size": PATCH, **SMALL},
          "dinov2": {"model_type": "dinov2", "image_size": SIDE, "patch_size": PATCH, "mlp_ratio": 2, **{k: v for k, v in SMALL.items() if k != "intermediate_size"}}}
LLAMA = {"model_type": "llama", "num_key_value_heads": 2, "max_position_embeddings": 96, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, **SMALL}
BERT = {"model_type": "bert", "max_position_embeddings": 48, "pad_token_id": 0, **SMALL}
CLIP_TEXT = {"model_type": "clip_text_model", "max_position_embeddings": 48, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, **SMALL}
BPE = {"train": "bpe", "vocab_size": 300, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
PIECES = {"train": "wordpiece", "vocab_size": 120, "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "do_resize": False, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3,
             "image_std": [0.5] * 3, "size": {"height": SIDE, "width": SIDE}}


def train(mm, folder, **config):
    config = {"output": "run", "seed": 3, "steps": STEPS, "batch_size": 8, "optimizer": {"lr": 3e-3}, **config}
    config["tasks"] = [{"data": {"train": "data.jsonl"}, **t} for t in config["tasks"]]
    (folder / "run.json").write_text(json.dumps(config))
    subprocess.run([mm, "train", folder / "run.json"], check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def open_there(folder):
    cls = getattr(hf, json.loads((folder / "config.json").read_text())["architectures"][0])
    model, info = cls.from_pretrained(folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager")
    wrong = [f"{kind}: {key}" for kind, keys in info.items() if kind.endswith("_keys") for key in keys if not any(part in str(key) for part in INDIFFERENT)]
    return model.eval(), wrong


def compare(model, wrong, mine, inputs):
    with torch.no_grad():
        expected = model(**inputs)
    given = {k: v.numpy() for k, v in inputs.items()}
    have, worst, count = mine.forward(given), 0.0, 0
    for name, h in have.items():
        w = getattr(expected, name, None)
        if isinstance(w, torch.Tensor) and tuple(w.shape) == h.shape:
            worst, count = max(worst, float(np.abs(h - w.numpy()).max() / w.abs().max())), count + 1
    return worst, count, wrong


def ids(vocabulary, *shape):
    return torch.from_numpy(np.random.default_rng(1).integers(5, vocabulary, shape))


def picture_inputs(folder, n=3):
    return {"pixel_values": runs.pixels(folder, [{"image": f"{i}.png"} for i in range(n)])}


# Models that transformers made

def fine_tuned(name, inputs):
    def run(mm, folder, data):
        (folder / "model").mkdir()
        torch.manual_seed(11)
        _, told, _ = runs.CASES[name](folder / "model", data)
        out = train(mm, folder, model={"from": "model"}, tasks=[told["task"]], **{k: v for k, v in told.items() if k in ("lora", "train_only")})
        if "lora" not in told:
            return compare(*open_there(out), libmm.open(out), inputs(folder))
        from peft import PeftModel
        base, wrong = open_there(folder / "model")
        return compare(PeftModel.from_pretrained(base, out).eval(), wrong, libmm.open(folder / "model").adapt(out), inputs(folder))
    return run


def llava_inputs(image, vocabulary, places):
    row = ids(vocabulary, 3, places + 8)
    row[row == image] = 5
    row[:, 1:1 + places] = image
    return {"input_ids": row}


# New ones

def t5(mm, folder, data):
    special = [f"<extra_id_{i}>" for i in range(8)]
    config = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": 200, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
              "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "initializer_range": 0.1}
    tokenizer = {"train": "unigram", "vocab_size": 150, "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "special_tokens": special[::-1]}
    out = train(mm, folder, model={"config": config, "tokenizer": tokenizer}, tasks=[{"objective": "span_corruption"}])
    return compare(*open_there(out), libmm.open(out), {"input_ids": ids(200, 2, 9), "decoder_input_ids": ids(200, 2, 5)})


def composite_llava(vision, **projector):
    def run(mm, folder, data):
        tokens = dict(BPE, special_tokens=[PICTURE])
        config = {"architectures": ["MMModel"], "model_type": "mm", "vision_config": VISION[vision], "decoder_config": dict(LLAMA, vocab_size=320), "image_token_index": 3,
                  "projector": projector}
        out = train(mm, folder, model={"config": config, "tokenizer": tokens, "processor": PROCESSOR}, save_as="LlavaForConditionalGeneration",
                    tasks=[{"objective": "vqa", "prompt": f"USER: {PICTURE}\n{{question}} ASSISTANT: "}])
        places = (SIDE // PATCH) ** 2 + 1 - projector.get("skip", 0)
        inputs = {**llava_inputs(3, 320, places), **picture_inputs(folder)}
        return compare_both(out, "LlavaForConditionalGeneration", inputs)
    return run


def borrowed_llava(mm, folder, data):
    """Towers of other checkpoints, of which the projector is trained and, by LoRA, the decoder."""
    _, text = runs.llama(data, PICTURE)
    (folder / "lm").mkdir()
    tokenizer, _ = runs.llama(data, PICTURE)
    hf.LlamaForCausalLM(text).save_pretrained(folder / "lm")
    tokenizer.save_pretrained(folder / "lm")
    hf.Dinov2Model(hf.Dinov2Config(**{k: v for k, v in VISION["dinov2"].items() if k != "model_type"})).save_pretrained(folder / "vision")
    image = tokenizer.convert_tokens_to_ids(PICTURE)
    config = {"architectures": ["MMModel"], "model_type": "mm", "vision_config": {"from": str(folder / "vision")}, "decoder_config": {"from": str(folder / "lm")},
              "image_token_index": image, "projector": {"depth": 2, "skip": 1}}
    out = train(mm, folder, model={"config": config, "tokenizer": "lm", "processor": PROCESSOR}, save_as="LlavaForConditionalGeneration", train_only="projector.*",
                lora={"r": 4, "target_modules": ["q_proj", "v_proj"]}, tasks=[{"objective": "vqa", "prompt": f"USER: {PICTURE}\n{{question}} ASSISTANT: "}])
    inputs = {**llava_inputs(image, len(tokenizer), (SIDE // PATCH) ** 2), **picture_inputs(folder)}
    return compare_both(out, "LlavaForConditionalGeneration", inputs, libmm.open(out).adapt(out))


def composite_clip(class_name, vision, text, tokenizer):
    def run(mm, folder, data):
        config = {"architectures": ["MMModel"], "model_type": "mm", "vision_config": VISION[vision], "text_config": dict(text, vocab_size=320),
                  "heads": [{"name": "pair", "kind": "contrastive", "dim": 24, "inputs": ["vision", "text"], "pool": "pooler"}]}
        out = train(mm, folder, model={"config": config, "tokenizer": tokenizer, "processor": PROCESSOR}, save_as=class_name, tasks=[{"objective": "contrastive"}])
        words = ids(320, 4, 9)
        words[:, -1] = 1
        inputs = {"input_ids": words, "attention_mask": torch.ones_like(words), **picture_inputs(folder)}
        return compare_both(out, class_name, inputs)
    return run


def compare_both(out, class_name, inputs, mine=None):
    """The run's own model beside the other class, of transformers and of libmm."""
    theirs, wrong = open_there(out / class_name)
    own = compare(theirs, wrong, mine or libmm.open(out), inputs)
    other = compare(theirs, wrong, libmm.open(out / class_name), inputs)
    return max(own[0], other[0]), own[1], wrong


def trained_tokenizer(options):
    """The ids of some texts, by both; a difference is an error of 1."""
    def run(mm, folder, data):
        config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 320, "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
        out = train(mm, folder, model={"config": config, "tokenizer": options}, tasks=[{"objective": "causal_lm"}])
        theirs, mine = Tokenizer.from_file(str(out / "tokenizer.json")), libmm.Tokenizer(out)
        texts = [v for e in data for v in e.values()] + ["Übergrößenträger, naïve 東京 \U0001f600!", "  two  blanks\n\nand lines\t", "A CAPITAL Ⅷ ﬁ"]
        wrong = [t for t in texts if theirs.encode(t).ids != mine.encode(t) or theirs.decode(theirs.encode(t).ids, skip_special_tokens=False) != mine.decode(mine.encode(t))]
        return float(bool(wrong)), len(texts), wrong
    return run


CASES = {
    "vit": fine_tuned("vit", picture_inputs),
    "gpt2": fine_tuned("gpt2", lambda _: {"input_ids": ids(250, 3, 20)}),
    "clip": fine_tuned("clip", lambda f: {"input_ids": ids(250, 3, 16), **picture_inputs(f)}),
    "bert": fine_tuned("bert", lambda _: {"input_ids": ids(22, 3, 20)}),
    "mae": fine_tuned("mae", lambda f: {"noise": torch.rand(3, (SIDE // PATCH) ** 2), **picture_inputs(f)}),
    "t5": t5,
    "lora": fine_tuned("lora", lambda _: {"input_ids": ids(250, 3, 20)}),
    "llava of clip": composite_llava("clip", skip=1),
    "llava of clip, depth": composite_llava("clip", depth=1),
    "llava of vit": composite_llava("vit", depth=2, skip=1, hidden_act="gelu_new"),
    "llava of parts, lora": borrowed_llava,
    "clip of towers": composite_clip("CLIPModel", "clip", CLIP_TEXT, BPE),
    "vit and bert": composite_clip("VisionTextDualEncoderModel", "vit", BERT, PIECES),
    "dinov2 and bert": composite_clip("VisionTextDualEncoderModel", "dinov2", BERT, PIECES),
    "clip and bert": composite_clip("VisionTextDualEncoderModel", "clip", BERT, PIECES),
    "tokenizer bpe": trained_tokenizer(BPE),
    "tokenizer wordpiece": trained_tokenizer(dict(PIECES, bos_token="[BOS]")),
    "tokenizer unigram": trained_tokenizer({"train": "unigram", "vocab_size": 150, "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mm", default="build/mm")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    args = parser.parse_args()
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    bad = 0
    for name in args.cases:
        with tempfile.TemporaryDirectory() as at:
            folder = pathlib.Path(at)
            try:
                worst, count, wrong = CASES[name](args.mm, folder, runs.examples(folder))
            except Exception as e:  # the next may do
                worst, count, wrong = float("inf"), 0, [f"{type(e).__name__}: {e}"]
        fails = not worst <= MOST or not count or bool(wrong)
        bad += fails
        print(f"{name:22} {count:3} outputs, at most {worst:.1e} apart{' DIFFERS ' + '; '.join(wrong[:4]) if fails else ''}", flush=True)
    print(f"{len(args.cases)} runs, {bad} differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
