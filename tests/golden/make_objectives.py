#!/usr/bin/env python3
"""Write tests/golden/objectives/<case>.safetensors for tests/unit/test_objectives.c: a batch as src/train/objective.h lists its tensors
("in.<name>"), and what torch makes of it with the weights of a tiny checkpoint of tests/golden/models: "loss" [1] and "norm" [1], of
the gradients of all parameters. In float64 by transformers' models; the losses are torch's functions, or those that transformers itself
has for the architecture (masked autoencoder, CLIP, SigLIP).

Needs torch, transformers 5, safetensors. SPDX-License-Identifier: MIT"""
import pathlib

import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import save_file
from transformers import logging

logging.set_verbosity_error()
HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "objectives"
OUT.mkdir(exist_ok=True)
G = torch.Generator().manual_seed(5)


def model(cls, name):
    m = cls.from_pretrained(HERE / "models" / name, attn_implementation="eager", dtype=torch.float32).double().eval()
    for p in m.parameters():
        p.requires_grad_(True)  # positions of a masked autoencoder too
    return m


def ids(*shape, most):
    return torch.randint(3, most, shape, generator=G, dtype=torch.int32)


def pixels(*shape):
    return torch.randn(*shape, generator=G)


def write(case, m, loss, **batch):
    loss.backward()
    norm = sum((p.grad**2).sum() for p in m.parameters() if p.grad is not None) ** 0.5
    out = {"loss": loss.detach().reshape(1).float(), "norm": norm.reshape(1).float()}
    save_file({**out, **{f"in.{k}": v.contiguous() for k, v in batch.items()}}, OUT / f"{case}.safetensors")
    print(f"{case}: {loss.item():.6f} {norm.item():.6f}")


def labels_of(rows, width=8):
    """Rows of (position, label) as the three tensors; each counts as much as every other."""
    n = sum(len(r) for r in rows)
    labels = torch.full((len(rows), width), -100, dtype=torch.int32)
    positions = torch.zeros(len(rows), width, dtype=torch.int32)
    weights = torch.zeros(len(rows), width)
    for i, r in enumerate(rows):
        for k, (p, label) in enumerate(r):
            labels[i, k], positions[i, k], weights[i, k] = label, p, 1 / n
    return {"labels": labels, "label_positions": positions, "label_weights": weights}


def nll(logits, rows, smoothing=0.0):
    """The mean over all labels, as torch has it."""
    at = torch.cat([logits[i, [p for p, _ in r]] for i, r in enumerate(rows)])
    return F.cross_entropy(at, torch.tensor([label for r in rows for _, label in r]), label_smoothing=smoothing)


def next_tokens(x, lengths, first=1):
    return [[(t - 1, int(x[i, t])) for t in range(first, n)] for i, n in enumerate(lengths)]


# Next token: padded rows, smoothed; and texts one behind another, each by itself.
gpt = model(hf.GPT2LMHeadModel, "gpt2")
x, lengths = ids(3, 8, most=47), (8, 5, 6)
rows = next_tokens(x, lengths)
write("causal_lm", gpt, nll(gpt(x.long()).logits, rows, 0.1), input_ids=x, **labels_of(rows))
gpt = model(hf.GPT2LMHeadModel, "gpt2")
flat = torch.cat([x[i, :n] for i, n in enumerate(lengths)])[None]
starts = [0, 8, 13]
packed = [[(s + p, label) for s, r in zip(starts, rows) for p, label in r]]
alone = torch.cat([gpt(x[i : i + 1, :n].long()).logits[0] for i, n in enumerate(lengths)])[None]
write("causal_lm_packed", gpt, nll(alone, packed), input_ids=flat, **labels_of(packed, 16),
      position_ids=torch.cat([torch.arange(n, dtype=torch.int32) for n in lengths])[None],
      segments=torch.tensor([0, 8, 13, 19], dtype=torch.int32))

# Hidden tokens of a padded batch.
bert = model(hf.BertForMaskedLM, "bert_mlm")
x, mask = ids(2, 9, most=41), torch.ones(2, 9, dtype=torch.int32)
mask[1, 6:] = 0
rows = [[(2, 7), (5, 30)], [(1, 12)]]
write("masked_lm", bert, nll(bert(x.long(), attention_mask=mask.long()).logits, rows), input_ids=x, attention_mask=mask,
      **labels_of(rows))

# Hidden spans: the decoder writes them.
t5 = model(hf.T5ForConditionalGeneration, "t5_relu")
x, y, mask = ids(2, 9, most=47), ids(2, 7, most=47), torch.ones(2, 9, dtype=torch.int32)
mask[0, 7:] = 0
y[:, 0] = 0
rows = next_tokens(y, (7, 5))
write("span_corruption", t5, nll(t5(x.long(), attention_mask=mask.long(), decoder_input_ids=y.long()).logits, rows), input_ids=x,
      attention_mask=mask, decoder_input_ids=y, **labels_of(rows))

# Pictures.
mae = model(hf.ViTMAEForPreTraining, "vit_mae")
p, noise = pixels(2, 1, 24, 24), torch.rand(2, 36, generator=G)
write("mae", mae, mae(p.double(), noise=noise.double()).loss, pixel_values=p, noise=noise)
mae = model(hf.ViTMAEForPreTraining, "vit_mae")
clean = p + 0.3 * pixels(2, 1, 24, 24)
write("denoising_image", mae, F.mse_loss(mae(p.double(), noise=noise.double()).logits, mae.patchify(clean.double())),
      pixel_values=p, noise=noise, clean_pixel_values=clean)
vit = model(hf.ViTForImageClassification, "vit_class")
p, labels = pixels(3, 3, 32, 32), torch.tensor([4, 0, 2], dtype=torch.int32)
write("classification", vit, F.cross_entropy(vit(p.double()).logits, labels.long(), label_smoothing=0.2), pixel_values=p, labels=labels,
      label_weights=torch.full((3,), 1 / 3))

# Numbers of texts.
bert = model(hf.BertForSequenceClassification, "bert_class")
x, values = ids(2, 6, most=41), torch.randn(2, 3, generator=G)
write("regression", bert, F.mse_loss(bert(x.long()).logits, values.double()), input_ids=x, values=values)

# Pairs.
clip = model(hf.CLIPModel, "clip")
p, x = pixels(3, 3, 24, 24), ids(3, 9, most=30)
x[:, -1] = 2
write("contrastive", clip, clip(x.long(), p.double(), return_loss=True).loss, pixel_values=p, input_ids=x)
siglip = model(hf.SiglipModel, "siglip")
x = ids(3, 9, most=37)
write("sigmoid_contrastive", siglip, siglip(x.long(), p.double(), return_loss=True).loss, pixel_values=p, input_ids=x)
blip = model(hf.BlipForImageTextRetrieval, "blip_retrieval")
p, x, mask = pixels(4, 3, 8, 8), ids(4, 8, most=30), torch.ones(4, 8, dtype=torch.int32)
mask[2, 5:] = 0
labels = torch.tensor([1, 0, 1, 0], dtype=torch.int32)
score = blip(x.long(), p.double(), attention_mask=mask.long(), use_itm_head=True).itm_score
write("matching", blip, F.cross_entropy(score, labels.long()), pixel_values=p, input_ids=x, attention_mask=mask, labels=labels,
      label_weights=torch.full((4,), 0.25))

# Answers about pictures: among the tokens, and across.
llava = model(hf.LlavaForConditionalGeneration, "llava_vit")
x = ids(2, 32, most=60)
x[:, 2:26] = 60
p, rows = pixels(2, 3, 24, 16), next_tokens(x, (32, 30), 28)
write("vqa", llava, nll(llava(x.long(), p.double()).logits, rows), input_ids=x, pixel_values=p, **labels_of(rows))
ved = model(hf.VisionEncoderDecoderModel, "ved_bert")
x, p = ids(2, 7, most=41), pixels(2, 3, 8, 8)
rows = next_tokens(x, (7, 6))
write("caption", ved, nll(ved(p.double(), decoder_input_ids=x.long()).logits, rows), decoder_input_ids=x, pixel_values=p, **labels_of(rows))

# A teacher, whose hidden states count where the mask says so; a reference.
student, teacher = model(hf.GPT2LMHeadModel, "gpt2"), model(hf.GPT2LMHeadModel, "gpt2_untied")
x, mask = ids(2, 8, most=47), torch.ones(2, 8, dtype=torch.int32)
mask[1, 6:] = 0
rows = next_tokens(x, (8, 6))
s = student(x.long(), attention_mask=mask.long(), output_hidden_states=True)
with torch.no_grad():
    t = teacher(x.long(), attention_mask=mask.long(), output_hidden_states=True)
T, picked = 3.0, [(i, p) for i, r in enumerate(rows) for p, _ in r]
at = tuple(torch.tensor(k) for k in zip(*picked))
soft = F.cross_entropy(s.logits[at] / T, F.softmax(t.logits[at] / T, -1))
seen = mask.bool()
hidden = F.mse_loss(s.hidden_states[1][seen], t.hidden_states[1][seen])
write("distillation", student, 0.3 * nll(s.logits, rows) + 0.7 * T * T * soft + 0.4 * hidden, input_ids=x, attention_mask=mask,
      **labels_of(rows))
policy = model(hf.GPT2LMHeadModel, "gpt2")
x = ids(4, 8, most=47)  # two pairs, the chosen first
lengths = (8, 6, 7, 7)
rows = next_tokens(x, lengths, 4)


def sums(m):
    logp = F.log_softmax(m(x.long()).logits, -1)
    return torch.stack([sum(logp[i, p, label] for p, label in r) for i, r in enumerate(rows)])


with torch.no_grad():
    reference = sums(teacher)
ratio = sums(policy) - reference
batch = labels_of(rows)
batch["label_weights"] = (batch["label_weights"] > 0).float()
write("dpo", policy, -F.logsigmoid(0.2 * (ratio[0::2] - ratio[1::2])).mean(), input_ids=x, **batch)
