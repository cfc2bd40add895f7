#!/usr/bin/env python3
"""Draw the pictures of examples/images: simple scenes, as PNG files, with nothing but Python's zlib.

    python3 examples/make_images.py [FOLDER]

Each pixel is the mean of 2 x 2 samples of a function of the place. SPDX-License-Identifier: MIT
"""
import os
import struct
import sys
import zlib

SIZE = 160


def circles(color, ground):
    spots = [(45, 50, 28), (110, 42, 20), (80, 112, 34), (134, 122, 17), (24, 128, 14)]

    def at(x, y):
        return color if any((x - a) ** 2 + (y - b) ** 2 < r * r for a, b, r in spots) else ground
    return at


def stripes(color, ground):
    return lambda x, y: color if (x + y) % 32 < 16 else ground


def house(x, y):
    if (x - 128) ** 2 + (y - 30) ** 2 < 17 ** 2:
        return 250, 210, 60                                   # sun
    if 40 < x < 112 and 76 < y < 132:
        if 68 < x < 84 and y > 102:
            return 90, 60, 40                                 # door
        return (150, 200, 230) if 88 < y < 104 and (48 < x < 62 or 90 < x < 104) else (225, 200, 160)
    if 44 < y <= 76 and abs(x - 76) < (y - 44) * 1.4:
        return 170, 50, 40                                    # roof
    return (90, 160, 70) if y >= 128 else (140 + y // 3, 190 + y // 4, 240)


def triangle(color, ground):
    return lambda x, y: color if 70 < y < 120 and abs(x - 96) < (y - 70) * 0.58 else ground


def circle(color, ground):
    return lambda x, y: color if (x - 58) ** 2 + (y - 66) ** 2 < 30 ** 2 else ground


PICTURES = {
    "triangle-red.png": triangle((255, 0, 0), (238, 244, 250)),
    "circle-teal.png": circle((0, 128, 128), (250, 243, 228)),
    "circles-red.png": circles((200, 40, 40), (240, 235, 225)),
    "circles-green.png": circles((40, 140, 60), (240, 235, 225)),
    "stripes-blue.png": stripes((40, 70, 170), (235, 235, 240)),
    "stripes-red.png": stripes((180, 50, 40), (240, 235, 225)),
    "house.png": house,
}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixel):
    rows = bytearray()
    for y in range(SIZE):
        rows.append(0)  # no filter
        for x in range(SIZE):
            samples = [pixel(x + dx, y + dy) for dx in (0.25, 0.75) for dy in (0.25, 0.75)]
            rows += bytes(int(sum(s[i] for s in samples) / 4) for i in range(3))
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
    os.makedirs(folder, exist_ok=True)
    for name, pixel in PICTURES.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(png(pixel))
