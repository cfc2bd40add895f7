"""What the scripts share that write tiny checkpoints under tests/golden/models and what transformers computes with them.

Every model is random (fixed seeds, weights large enough that each part of the network matters) and is stored as a user would
get it: a Hugging Face directory or a GGUF file. Expected outputs come from transformers in float32 on the weights as stored,
eager attention. Each script (make_models.py, make_<family>_models.py) owns one family; layout, read by tests/unit/test_golden_models.c:

    models/<family>.cases.txt           a line a forward case:   PATH CASE KIND
    models/<family>.greedy.txt          a line a greedy case:    PATH CASE
    models/<family>.beams.txt           a line a beam search:    PATH CASE
    models/<family>.media.txt           a line a greedy case of a session with media: PATH CASE
    models/<name>/                      the model
    models/<name>/<case>.in.safetensors, <case>.out.safetensors

PATH is <name>, or <name>/model.gguf. KIND is "exact" (1e-4 of the largest output), "joint" (as exact, but some output joins what a batch
holds, a loss or scores of each picture for each text, so that rows of inputs are not rows of outputs), or "int8": block-quantized weights, where the
engine rounds the input of every linear layer to 8 bits in blocks of 32. For those the .out file holds, beside each output of the
dequantized weights, "<output>.int8": what the reference gives when it rounds so too. Generated ids are those of the latter.

Needs torch, transformers 5, gguf, safetensors, tokenizers. Run from anywhere; the result does not depend on the machine but for
the last bits of float32 sums.
SPDX-License-Identifier: MIT"""
import contextlib
import json
import pathlib
import shutil
import tempfile

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import logging
from transformers.pytorch_utils import Conv1D

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE / "models"
CASES, GREEDY, BEAMS, MEDIA, STARTED = [], [], [], [], set()
GREEDY_TOKENS = 24
LEAST_MARGIN = 0.02  # of the largest logit between the best and the second token of every greedy step


def randomize(model, seed, std):
    """Matrices N(0, std), vectors of norms around 1, biases N(0, 0.2): nothing is left at an initial value that hides a mistake."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.dim() > 1:
                p.copy_(torch.randn(p.shape, generator=g) * std)
            elif "bias" in name:
                p.copy_(torch.randn(p.shape, generator=g) * 0.2)
            else:  # norms, layer scale
                p.copy_(0.6 + torch.rand(p.shape, generator=g))
    return model.eval()


def round_to(model, dtype):
    """The weights as they will be read back from `dtype`."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())


def tensors_of(model, dtype):
    """What transformers stores, under the names of its files, which for some models are not those in memory."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {name: p.to(dtype).contiguous() for name, p in load_file(pathlib.Path(folder) / "model.safetensors").items()}


def folder_of(name):
    folder = ROOT / name
    if name not in STARTED:
        shutil.rmtree(folder, ignore_errors=True)
        STARTED.add(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_config(folder, model, dtype, edit=None):
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["architectures"] = [type(model).__name__]
    config["dtype"] = str(dtype).removeprefix("torch.")
    for key in ("_name_or_path", "transformers_version", "return_dict", "output_hidden_states", "output_attentions",
                "chunk_size_feed_forward",
                "problem_type", "is_encoder_decoder", "use_cache", "initializer_range"):
        config.pop(key, None)
    if edit:
        edit(config)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def save(name, model, dtype=torch.float32, prefix="", edit=None, shards=1):
    """Write the directory; the model is left with the weights as stored."""
    folder = folder_of(name)
    round_to(model, dtype)
    tensors = {prefix + k: v for k, v in tensors_of(model, dtype).items()}
    write_config(folder, model, dtype, edit)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    names, weight_map = list(tensors), {}
    for s in range(shards):
        part = {n: tensors[n] for n in names[s::shards]}
        file = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    return folder


def write_case(name, case, inputs, outputs, kind="exact", file=""):
    save_file({k: v.contiguous() for k, v in inputs.items()}, ROOT / name / f"{case}.in.safetensors")
    save_file({k: v.detach().clone().contiguous() for k, v in outputs.items()}, ROOT / name / f"{case}.out.safetensors")
    for k, v in outputs.items():
        assert v.dtype in (torch.float32, torch.int32)
        assert torch.isfinite(v).all() and v.numel() and (v.numel() == 1 or v.float().std() > 1e-3), (name, case, k)
    CASES.append(f"{name}{file} {case} {kind}")


def ids_of(seed, shape, vocabulary):
    return torch.randint(3, vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def only_logits(outputs):
    """Long sequences: the last hidden state, which the logits follow from, would be the larger part of the files."""
    if "logits" in outputs and outputs["logits"].shape[1] > 16:
        outputs.pop("last_hidden_state", None)
    return outputs


def text_inputs(seed, vocabulary, lengths, padding=True):
    """Sequences by themselves, and a batch of two with each kind of padding."""
    cases = {f"len{n}": {"input_ids": ids_of(seed + n, (1, n), vocabulary)} for n in lengths}
    batch = ids_of(seed + 100, (2, 11), vocabulary)
    for side in ("right", "left") if padding else ():
        mask = torch.ones_like(batch)
        if side == "right":
            mask[0, 6:] = 0
        else:
            mask[0, :5] = 0
        cases["pad_" + side] = {"input_ids": batch * mask, "attention_mask": mask}
    return cases


def greedy_ids(model, prompt, count):
    """Ids, and the least distance between best and second, relative to the largest logit."""
    ids, margin = prompt.clone(), 1.0
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=ids, use_cache=False).logits[0, -1]
            top = logits.topk(2).values
            margin = min(margin, float((top[0] - top[1]) / logits.abs().max()))
            ids = torch.cat([ids, logits.argmax()[None, None]], 1)
    return ids[:, prompt.shape[1]:], margin


def write_greedy(name, case, model, prompt_length, seed, file=""):
    """The first prompt whose continuation is decided by a clear distance at every step and does not fall into one token."""
    for s in range(seed, seed + 400):
        prompt = ids_of(s, (1, prompt_length), model.config.vocab_size)
        ids, margin = greedy_ids(model, prompt, GREEDY_TOKENS)
        if margin >= LEAST_MARGIN and len(set(ids[0].tolist())) >= 5:
            break
    else:
        raise SystemExit(f"{name}: no prompt with a margin of {LEAST_MARGIN}")
    save_file({"prompt_ids": prompt[0].to(torch.int32), "generated_ids": ids[0].to(torch.int32)},
              ROOT / name / f"{case}.greedy.safetensors")
    GREEDY.append(f"{name}{file} {case}")


def rename(path, change):
    tensors = {change(k): v for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def pixels_of(seed, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def greedy_margin(logits):
    """The distance from the best to the second, relative to the largest logit."""
    top = logits[torch.isfinite(logits)].topk(2).values
    return float((top[0] - top[1]) / logits[torch.isfinite(logits)].abs().max())


def write_media(name, case, media, prompt, generated):
    """A greedy case of a session: the tensors of one medium as its processor makes them, the prompt's ids [1, P], placeholders among them
    (or what an answer begins with, behind the start token), and the ids generated from it [1, N]."""
    save_file(dict({k: v.contiguous() for k, v in media.items()}, prompt_ids=prompt[0].to(torch.int32), generated_ids=generated[0].to(torch.int32)),
              ROOT / name / f"{case}.media.safetensors")
    MEDIA.append(f"{name} {case}")


EARLY_STOPPING = {False: 0, True: 1, "never": 2}


def write_beams(name, case, model, inputs, beams, length_penalty=1.0, early_stopping=False, tokens=12, end=None):
    """What beam search finds, with the scores: for a decoder `inputs` are input_ids, kept as prompt_ids; else the source as it is."""
    prompt = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    with torch.no_grad():
        out = model.generate(**inputs, num_beams=beams, num_return_sequences=beams, length_penalty=length_penalty,
                             early_stopping=early_stopping, max_new_tokens=tokens, do_sample=False, eos_token_id=end, pad_token_id=0,
                             return_dict_in_generate=True, output_scores=True)
    generated = len(out.scores)
    sequences = out.sequences[:, out.sequences.shape[1] - min(generated, int((out.beam_indices >= 0).sum(1).max())):].to(torch.int32)
    lengths = (out.beam_indices >= 0).sum(1)
    for row, n in zip(sequences, lengths):
        row[n:] = -1
    scores = out.sequences_scores
    gaps = (scores[:-1] - scores[1:]).abs()
    assert prompt or model.config.is_encoder_decoder
    if gaps.numel() and gaps.min() < 1e-4:
        raise SystemExit(f"{name} {case}: two sequences with the same score")
    kept = {("prompt_ids" if prompt and k == "input_ids" else k): (v.to(torch.int32) if v.dtype == torch.int64 else v).contiguous()
            for k, v in inputs.items()}
    kept.update(num_beams=torch.tensor([beams], dtype=torch.int32), length_penalty=torch.tensor([length_penalty], dtype=torch.float32),
                early_stopping=torch.tensor([EARLY_STOPPING[early_stopping]], dtype=torch.int32),
                max_new_tokens=torch.tensor([tokens], dtype=torch.int32), sequences=sequences.contiguous(), sequences_scores=scores.contiguous())
    if end is not None:
        kept["end"] = torch.tensor([end], dtype=torch.int32)
    save_file(kept, ROOT / name / f"{case}.beams.safetensors")
    BEAMS.append(f"{name} {case}")


def random_blocks(kind, shape, rng):
    """Blocks of a format that decode to about N(0, 0.07), or as far as the width asks: for writers that gguf-py has not."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    rows, blocks = shape[0], shape[1] // block
    b = rng.integers(0, 256, (rows, blocks, size), dtype=np.uint8)

    def put(at, values):
        b[:, :, at:at + 2] = values.astype(np.float16)[..., None].view(np.uint8)

    if kind == "Q6_K":  # scale * (code - 32): codes -32..31, signed scales
        b[:, :, 192:208] = rng.integers(-60, 60, (rows, blocks, 16), dtype=np.int8).view(np.uint8)
        put(208, rng.uniform(0.5, 1.5, (rows, blocks)) * 0.07 / 18 / 35)
    elif kind == "Q3_K":  # scale * (code - 4): codes -4..3, signed scales of 6 bits
        put(108, rng.uniform(0.5, 1.5, (rows, blocks)) * 0.07 / 2.3 / 18)
    elif kind == "Q2_K":  # as below, scales and mins of 4 bits
        d = rng.uniform(0.5, 1.5, (rows, blocks)) * 0.07 / 1.1 / 9
        put(80, d)
        put(82, d * 1.5)
    elif kind == "IQ4_NL":
        put(0, rng.uniform(0.5, 1.5, (rows, blocks)) * 1.2 / shape[1] ** 0.5 / 70)
    else:  # d * scale * code - dmin * min: about zero when the min is half the range
        top = 15 if kind == "Q4_K" else 31
        d = rng.uniform(0.5, 1.5, (rows, blocks)) * 0.07 / (top * 0.29) / 36
        put(0, d)
        put(2, d * top / 2)
    return b.reshape(rows, blocks * size)


def quantize(kind, w, rng):
    """Rows as stored, and what they mean in float32."""
    q = gguf.GGMLQuantizationType[kind]
    try:
        data = gguf.quants.quantize(w, q)
    except NotImplementedError:
        data = random_blocks(kind, w.shape, rng)
    return data, gguf.quants.dequantize(data, q).astype(np.float32), q


def fake_int8(x):
    """Activations as the engine rounds them: blocks of 32, scale largest / 127."""
    b = x.reshape(*x.shape[:-1], -1, 32)
    scale = b.abs().amax(-1, keepdim=True) / 127
    return (torch.where(scale > 0, torch.round(b / scale.clamp_min(1e-30)), torch.zeros(())) * scale).reshape(x.shape)


@contextlib.contextmanager
def rounded_activations(model):
    linears = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, Conv1D))]
    hooks = [m.register_forward_pre_hook(lambda _, x: (fake_int8(x[0]),)) for m in linears]
    yield
    for h in hooks:
        h.remove()


def run(family, *makers):
    """Write the models of a family, and its lists."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    ROOT.mkdir(exist_ok=True)
    for make in makers:
        make()
    for name in STARTED:
        for f in (ROOT / name).rglob("*.*"):
            f.chmod(0o644)
    (ROOT / f"{family}.cases.txt").write_text("".join(line + "\n" for line in CASES))
    for kind, lines in (("greedy", GREEDY), ("beams", BEAMS), ("media", MEDIA)):
        if lines:
            (ROOT / f"{family}.{kind}.txt").write_text("".join(line + "\n" for line in lines))
    size = sum(f.stat().st_size for name in STARTED for f in (ROOT / name).rglob("*") if f.is_file())
    print(f"{family}: {len(CASES)} cases, {len(GREEDY)} greedy, {size / 1e6:.2f} MB")
