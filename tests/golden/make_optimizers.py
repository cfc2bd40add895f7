#!/usr/bin/env python3
"""Write tests/golden/optimizers.safetensors: the weights of a matrix and of a vector through steps with given gradients, by torch's
optimizers, and learning rates by transformers' schedules, for tests/unit/test_optimizer.c, test_gradient_norm.c and test_schedule.c.

    start.<parameter>, gradient.<parameter> [steps, ...], rates [steps]
    <case>.<parameter> [steps, ...]   weights after each step
    clip_<most>.norm, clip_<most>.<parameter>   the first gradient's norm, and what clip_grad_norm_ leaves of it
    schedule.<name>_<warmup>_<total>_<min_ratio> [total + 20]

The learning rate of step t is rates[t] times the case's. Adafactor by both definitions: transformers.optimization.Adafactor (steps
absolute, and relative with scale_parameter), and torch.optim.Adafactor, which differs in weight decay and is run without.
Lion is in neither: its three lines are the paper's (arXiv:2302.06675, algorithm 2), in float64.
Needs torch, transformers, safetensors. SPDX-License-Identifier: MIT"""
import pathlib

import torch
from safetensors.torch import save_file
from transformers import optimization

OUT = pathlib.Path(__file__).resolve().parent / "optimizers.safetensors"
STEPS = 12
G = torch.Generator().manual_seed(1)
SHAPES = {"matrix": (7, 9), "vector": (13,)}
start = {k: torch.randn(s, generator=G) * 0.1 for k, s in SHAPES.items()}
grads = {k: torch.randn(STEPS, *s, generator=G) * torch.rand(STEPS, *s, generator=G) ** 4 for k, s in SHAPES.items()}
grads["matrix"][3:5, 2] = 0  # a row without gradient, for a while
grads["vector"][:2] = 0
rates = 1 / (1 + torch.arange(STEPS) * 0.25)
tensors = {"rates": rates}
for name in SHAPES:
    tensors[f"start.{name}"] = start[name]
    tensors[f"gradient.{name}"] = grads[name]


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (b1, b2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = (b1 * m + (1 - b1) * p.grad).sign()
                p.sub_(lr * (update + decay * p))
                m.copy_(b2 * m + (1 - b2) * p.grad)


def run(case, make, lr, double=False, follow=True):
    params = {k: torch.nn.Parameter(v.double() if double else v.clone()) for k, v in start.items()}
    optimizer = make(list(params.values()))
    steps = {k: [] for k in params}
    for t in range(STEPS):
        for k, p in params.items():
            p.grad = grads[k][t].to(p.dtype)
        if follow:
            for group in optimizer.param_groups:
                group["lr"] = lr * rates[t].item()
        optimizer.step()
        for k, p in params.items():
            steps[k].append(p.detach().float().clone())
    for k, v in steps.items():
        tensors[f"{case}.{k}"] = torch.stack(v)


run("adamw", lambda p: torch.optim.AdamW(p, weight_decay=0.1), 1e-2)
run("adamw_betas", lambda p: torch.optim.AdamW(p, betas=(0.8, 0.95), eps=1e-3, weight_decay=0), 1e-2)
run("sgd", lambda p: torch.optim.SGD(p, 0, momentum=0.9, weight_decay=0.1), 1e-2)
run("sgd_nesterov", lambda p: torch.optim.SGD(p, 0, momentum=0.7, nesterov=True), 1e-2)
run("sgd_plain", lambda p: torch.optim.SGD(p, 0, weight_decay=0.1), 1e-2)
run("lion", lambda p: Lion(p, 0, weight_decay=0.1), 1e-3, double=True)
run("adafactor", lambda p: optimization.Adafactor(p, 0, scale_parameter=False, relative_step=False, weight_decay=0.1), 1e-2)
run("adafactor_relative", lambda p: optimization.Adafactor(p, weight_decay=0.1), 1e-2, follow=False)
run("adafactor_torch", lambda p: torch.optim.Adafactor(p, 0, weight_decay=0, eps=(1e-15, 1e-3)), 0.5)

for most in (0.5, 100):
    params = [torch.nn.Parameter(v) for v in start.values()]
    for p, g in zip(params, grads.values()):
        p.grad = g[0].clone()
    tensors[f"clip_{most}.norm"] = torch.nn.utils.clip_grad_norm_(params, most).reshape(1)
    for name, p in zip(SHAPES, params):
        tensors[f"clip_{most}.{name}"] = p.grad


def schedule(name, make, warmup, total, least=0.0):
    factor = make(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)).lr_lambdas[0]
    tensors[f"schedule.{name}_{warmup}_{total}_{least}"] = torch.tensor([factor(t) for t in range(total + 20)], dtype=torch.float64).float()


for w, n in ((0, 30), (10, 40), (1, 7), (25, 20)):
    schedule("constant", lambda o: optimization.get_constant_schedule_with_warmup(o, w), w, n)
    schedule("linear", lambda o: optimization.get_linear_schedule_with_warmup(o, w, n), w, n)
    schedule("cosine", lambda o: optimization.get_cosine_schedule_with_warmup(o, w, n), w, n)
    schedule("cosine", lambda o: optimization.get_cosine_with_min_lr_schedule_with_warmup(o, w, n, min_lr_rate=0.1), w, n, 0.1)
    schedule("inverse_sqrt", lambda o: optimization.get_inverse_sqrt_schedule(o, w), w, n)
save_file({k: v.contiguous() for k, v in tensors.items()}, OUT)
OUT.chmod(0o644)
print(len(tensors), "tensors,", OUT.stat().st_size, "bytes")
