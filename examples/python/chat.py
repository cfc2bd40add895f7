#!/usr/bin/env python3
"""A conversation on the terminal:  PYTHONPATH=lib/python python3 examples/python/chat.py MODEL

An empty line or the end of input ends it. SPDX-License-Identifier: MIT"""
import sys

import libmm

if len(sys.argv) != 2:
    sys.exit(__doc__)
try:
    model = libmm.open(sys.argv[1])
    session = model.session(repeat_penalty=1.1)
    messages = []
    while line := input("> "):
        messages.append(("user", line))
        # The session keeps what it has read: only what is new is computed.
        session.set_tokens(model.tokenizer.encode(model.apply_chat_template(messages), add_special=False))
        reply = ""
        for piece in session.generate():
            print(piece, end="", flush=True)
            reply += piece
        print()
        messages.append(("assistant", reply))
except EOFError:
    print()
except libmm.Error as e:
    sys.exit(str(e))
