#!/usr/bin/env python3
"""How alike pictures are:  PYTHONPATH=lib/python python3 examples/python/vision.py MODEL PICTURE...

SPDX-License-Identifier: MIT"""
import pathlib
import sys

import libmm

if len(sys.argv) < 3:
    sys.exit(__doc__)
pictures = [pathlib.Path(name) for name in sys.argv[2:]]
try:
    vectors = libmm.open(sys.argv[1]).embed(pictures)
except libmm.Error as e:
    sys.exit(str(e))
for picture, row in zip(pictures, vectors @ vectors.T):  # unit vectors: dot products are cosines
    print(f"{picture.name:20}", *(f"{cosine:7.3f}" for cosine in row))
