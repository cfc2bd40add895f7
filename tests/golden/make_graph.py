#!/usr/bin/env python3
"""Write tests/golden/graph.safetensors: inputs and outputs of single operations, computed by torch, for tests/unit/test_graph.c.

Names are <operation>.<case>.<what>; numbers that are no tensors are in the case's name. Needs torch, transformers, safetensors.
SPDX-License-Identifier: MIT"""
import pathlib

import torch
from safetensors.torch import save_file
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

OUT = pathlib.Path(__file__).resolve().parent / "graph.safetensors"
G = torch.Generator().manual_seed(1)
tensors = {}


def rand(*shape):
    return torch.randn(shape, generator=G)


def put(case, **values):
    for what, v in values.items():
        tensors[f"{case}.{what}"] = v.contiguous().clone()


def resize():
    for h, w, H, W in ((4, 4, 4, 4), (4, 4, 2, 5), (5, 3, 9, 7), (1, 1, 3, 2), (2, 7, 1, 1), (16, 16, 23, 11), (3, 3, 300, 2),
                       (37, 37, 16, 16)):
        c = 3 if h < 20 else 1
        x = rand(h, w, c)
        y = torch.nn.functional.interpolate(x.permute(2, 0, 1)[None], size=(H, W), mode="bicubic",
                                            align_corners=False)[0].permute(1, 2, 0)
        put(f"resize.{h}_{w}_{H}_{W}", x=x, y=y)


def resize_antialias():
    """Not to a width of 1, which torch 2 gets wrong in the vertical pass."""
    for mode in ("bicubic", "bilinear"):
        for h, w, H, W in ((4, 4, 2, 5), (5, 3, 9, 7), (16, 16, 3, 11), (2, 7, 1, 3), (9, 9, 9, 2)):
            x = rand(h, w, 3)
            y = torch.nn.functional.interpolate(x.permute(2, 0, 1)[None], size=(H, W), mode=mode, align_corners=False,
                                                antialias=True)[0].permute(1, 2, 0)
            put(f"antialias.{mode}_{h}_{w}_{H}_{W}", x=x, y=y)


def sort():
    noise = torch.tensor([[0.5, -1.0, 0.5, float("nan"), 0.0, float("-inf"), 0.5], [3, 2, 1, 0, -1, -2, -3]])
    order = torch.argsort(noise, dim=1, stable=True)
    put("sort.ties", x=noise, y=order.to(torch.int32), places=torch.argsort(order, dim=1).to(torch.int32))
    noise = torch.rand(3, 1000, generator=torch.Generator().manual_seed(3))
    order = torch.argsort(noise, dim=1)
    put("sort.many", x=noise, y=order.to(torch.int32), places=torch.argsort(order, dim=1).to(torch.int32))


def rope():
    for batch, tokens, heads, dim, rotated in ((1, 5, 2, 8, 8), (2, 3, 1, 6, 6), (1, 4, 3, 12, 8), (1, 1, 1, 2, 2)):
        half = rotated // 2
        inverse = 1.0 / 500.0 ** (torch.arange(half, dtype=torch.float32) / half)
        positions = torch.randint(0, 300, (batch, tokens), generator=G)
        angle = positions[..., None].float() * inverse
        x = rand(batch, tokens, heads, dim)
        emb = torch.cat((angle, angle), -1)
        part = x[..., :rotated].transpose(1, 2)
        y, _ = apply_rotary_pos_emb(part, part, emb.cos() * 0.75, emb.sin() * 0.75)
        neox = torch.cat((y.transpose(1, 2), x[..., rotated:]), -1)
        z = torch.view_as_complex(x[..., :rotated].reshape(batch, tokens, heads, half, 2).contiguous())
        turn = torch.polar(torch.full_like(angle, 0.75), angle)[:, :, None]
        pairs = torch.cat((torch.view_as_real(z * turn).reshape(batch, tokens, heads, rotated), x[..., rotated:]), -1)
        put(f"rope.{batch}_{tokens}_{heads}_{dim}_{rotated}", positions=positions.to(torch.int32), inverse=inverse, x=x,
            neox=neox, pairs=pairs)


def attend(q, k, v, scale, softcap=0.0, causal=False, window=0, bias=None):
    """By the definition, in double."""
    q, k, v = (t.double().transpose(1, 2) for t in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    s = q @ k.transpose(2, 3) * scale
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    if bias is not None:
        s = s + bias.double()
    at = torch.arange(s.shape[2])[:, None] + s.shape[3] - s.shape[2]
    key = torch.arange(s.shape[3])[None]
    if causal:
        s = s.masked_fill(key > at, float("-inf"))
        if window:
            s = s.masked_fill(key <= at - window, float("-inf"))
    return (torch.softmax(s, -1).nan_to_num(0) @ v).transpose(1, 2).reshape(q.shape[0], q.shape[2], -1).float()


def attention():
    # batch, queries, keys, heads, key heads, dim, value dim, causal, window, softcap, bias kind (0 none, 1 [B,1,1,S], 2 [1,H,T,S])
    for c in ((1, 3, 3, 2, 2, 8, 8, 0, 0, 0, 0), (2, 5, 5, 6, 2, 4, 4, 1, 0, 0, 0), (1, 70, 70, 2, 1, 8, 8, 1, 0, 0, 0),
              (1, 130, 130, 1, 1, 4, 4, 1, 17, 0, 0), (2, 4, 9, 3, 3, 5, 7, 0, 0, 0, 1), (1, 3, 67, 4, 2, 16, 8, 0, 0, 2, 2),
              (1, 1, 65, 3, 1, 8, 8, 1, 0, 0, 0), (2, 20, 20, 2, 2, 8, 8, 1, 3, 5, 2)):
        b, t, s, h, kh, d, e, causal, window, cap, kind = c
        q, k, v = rand(b, t, h, d), rand(b, s, kh, d), rand(b, s, kh, e)
        bias = None
        if kind == 1:
            bias = torch.where(torch.rand(b, 1, 1, s, generator=G) < 0.4, float("-inf"), 0.0)
            bias[0] = float("-inf")  # a sequence that sees nothing gives zeros
        elif kind == 2:
            bias = rand(1, h, t, s)
        y = attend(q, k, v, 0.4, float(cap), bool(causal), window, bias)
        case = "attention." + "_".join(map(str, c))
        put(case, q=q, k=k, v=v, y=y, **({} if bias is None else {"bias": bias}))


resize()
rope()
attention()
resize_antialias()
sort()
save_file(tensors, OUT)
OUT.chmod(0o644)
print(len(tensors), "tensors,", OUT.stat().st_size, "bytes")
