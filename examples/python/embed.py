#!/usr/bin/env python3
"""Rank sentences by how near their meaning is to a question:

    PYTHONPATH=lib/python python3 examples/python/embed.py MODEL QUESTION SENTENCE...

SPDX-License-Identifier: MIT"""
import sys

import libmm

if len(sys.argv) < 4:
    sys.exit(__doc__)
try:
    question, *sentences = libmm.open(sys.argv[1]).embed(sys.argv[2:])
except libmm.Error as e:
    sys.exit(str(e))
scores = [float(vector @ question) for vector in sentences]  # unit vectors: a dot product is a cosine
for score, sentence in sorted(zip(scores, sys.argv[3:]), reverse=True):
    print(f"{score:7.4f}  {sentence}")
