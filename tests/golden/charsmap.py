"""A SentencePiece character map (precompiled_charsmap) of a few rules: a double array over UTF-8, and the replacements.
SPDX-License-Identifier: MIT
"""
import struct


def charsmap(rules):
    """rules: {string: replacement}, strings not empty."""
    texts, offsets = b"", {}
    for to in sorted(set(rules.values())):
        offsets[to] = len(texts)
        texts += to.encode() + b"\0"
    root = {}
    for key, to in rules.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = offsets[to]
    units, bases, free = {0: 0}, set(), [1, 1]
    todo = [(0, root)]
    while todo:
        at, node = todo.pop()
        many = len(node) > 1  # these are placed one behind the other, those with one child in the holes
        while free[0] in units:
            free[0] += 1
        place = free[many]  # of the child with the smallest byte
        while True:
            base = place ^ min(node)
            if base and base not in bases and not any(base ^ c in units for c in node):
                break
            place += 1
        bases.add(base)
        free[many] = place
        assert at ^ base < 1 << 21
        units[at] |= (at ^ base) << 10 | (0 in node) << 8
        for c, child in node.items():
            units[base ^ c] = child | 1 << 31 if c == 0 else c
            if c:
                todo.append((base ^ c, child))
    size = (max(max(units), max(bases)) // 256 + 1) * 256
    return struct.pack("<I", 4 * size) + struct.pack("<%dI" % size, *(units.get(i, 0) for i in range(size))) + texts
