#!/usr/bin/env python3
"""A prompt to text:  PYTHONPATH=lib/python python3 examples/python/generate.py MODEL PROMPT

SPDX-License-Identifier: MIT"""
import sys

import libmm

if len(sys.argv) != 3:
    sys.exit(__doc__)
try:
    model = libmm.open(sys.argv[1])
    for piece in model.generate(sys.argv[2], max_tokens=200, repeat_penalty=1.1):
        print(piece, end="", flush=True)
    print()
except libmm.Error as e:
    sys.exit(str(e))
