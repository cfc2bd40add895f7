#!/usr/bin/env python3
"""Make tests/golden/training/augment.json: configurations, and the size and CRC-32 of what Pillow makes of a picture of noise by the numbers drawn
for (seed, epoch, index). Needs Pillow and numpy. Drawing is as torchvision's get_params do it, from Philox4x32-10 instead of torch's generator.

    make_augment.py > tests/golden/training/augment.json

SPDX-License-Identifier: MIT"""
import json
import math
import zlib

import numpy as np
from PIL import Image, ImageEnhance


def philox(seed, stream, index):
    c = [index & 0xFFFFFFFF, index >> 32, stream & 0xFFFFFFFF, stream >> 32]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[1] << 32 | c[0]


def noise(width, height):
    state, out = width * 65536 + height, bytearray()
    for _ in range(width * height * 3):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return Image.frombytes("RGB", (width, height), bytes(out))


class Draws:
    def __init__(self, seed, epoch, index):
        self.key, self.index = philox(seed, 0x4155474D, epoch), index

    def unit(self, n):
        return (philox(self.key, self.index, n) >> 11) * 2.0**-53

    def between(self, n, low, high):
        return low + (high - low) * self.unit(n)

    def below(self, n, count):
        return min(int(self.unit(n) * count), count - 1)


def color_range(value, hue):
    if value is None:
        return (0.0, 0.0) if hue else (1.0, 1.0)
    if isinstance(value, list):
        return tuple(value)
    return (-value, value) if hue else (max(0.0, 1 - value), 1 + value)


def affine(image, angle, scale, tx, ty, fill):
    """torchvision.transforms.functional.affine with no shear, bilinear; fill "edge" by a picture whose border is continued."""
    w, h = image.size
    cx, cy, rot = w * 0.5, h * 0.5, math.radians(angle)
    m = [math.cos(rot) / scale, math.sin(rot) / scale, 0.0, -math.sin(rot) / scale, math.cos(rot) / scale, 0.0]
    m[2] = m[0] * (-cx - tx) + m[1] * (-cy - ty) + cx
    m[5] = m[3] * (-cx - tx) + m[4] * (-cy - ty) + cy
    if fill == "edge":
        pad = 4 * max(w, h)
        image = Image.fromarray(np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), "edge"))
        m[2], m[5] = m[2] + pad, m[5] + pad
    return image.transform((w, h), Image.AFFINE, m, Image.BILINEAR, fillcolor=None if fill == "edge" else tuple(fill) if isinstance(fill, list) else (fill,) * 3)


def crop_box(d, scale, ratio, width, height):
    """RandomResizedCrop.get_params."""
    for i in range(10):
        area = width * height * d.between(16 + 4 * i, *scale)
        aspect = math.exp(d.between(17 + 4 * i, math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return d.below(19 + 4 * i, width - w + 1), d.below(18 + 4 * i, height - h + 1), w, h
    r = width / height
    w, h = width, height
    if r < ratio[0]:
        h = max(1, round(w / ratio[0]))  # 0 for the thinnest, which leaves no picture
    elif r > ratio[1]:
        w = max(1, round(h * ratio[1]))
    return (width - w) // 2, (height - h) // 2, w, h


def adjust_hue(image, turn):
    """torchvision's, on Pillow's pictures."""
    h, s, v = image.convert("HSV").split()
    h = np.array(h, np.uint8)
    h = (h.astype(np.int32) + int(turn * 255)).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(h, "L"), s, v)).convert("RGB")


def augment(image, config, seed, epoch, index):
    d = Draws(seed, epoch, index)
    width, height = image.size
    if "affine" in config:
        deg = config["affine"].get("degrees", 10)
        share = config["affine"].get("translate", [0, 0])
        image = affine(image, d.between(0, -deg, deg), d.between(7, *config["affine"].get("scale", [1, 1])), round(d.between(1, -share[0] * width, share[0] * width)),
                       round(d.between(2, -share[1] * height, share[1] * height)), config["affine"].get("fill", 0))
    if "crop" in config:
        c = config["crop"]
        x, y, w, h = crop_box(d, c.get("scale", [0.08, 1.0]), c.get("ratio", [3 / 4, 4 / 3]), width, height)
        size = c.get("size", [height, width])
        size = (size, size) if isinstance(size, int) else (size[1], size[0])
        image = image.crop((x, y, x + w, y + h)).resize(size, Image.BILINEAR)
    if d.unit(3) < config.get("flip", 0):
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    if "color" in config:
        names = ["brightness", "contrast", "saturation", "hue"]
        order = [0, 1, 2, 3]
        for i in (3, 2, 1):
            j = d.below(4 + i - 1, i + 1)
            order[i], order[j] = order[j], order[i]
        for o in order:
            low, high = color_range(config["color"].get(names[o]), o == 3)
            x = d.between(8 + o, low, high)
            if o == 3:
                image = adjust_hue(image, x) if (low, high) != (0, 0) else image
            else:
                image = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color][o](image).enhance(x)
    if "erase" in config:
        e = config["erase"]
        scale, ratio, (w, h) = e.get("scale", [0.02, 0.33]), e.get("ratio", [0.3, 3.3]), image.size
        pixels = np.array(image)
        for i in range(10 if d.unit(12) < e.get("p", 0.5) else 0):  # RandomErasing.get_params
            area = w * h * d.between(64 + 4 * i, *scale)
            aspect = math.exp(d.between(65 + 4 * i, math.log(ratio[0]), math.log(ratio[1])))
            eh, ew = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (0 < eh < h and 0 < ew < w):
                continue
            y, x = d.below(66 + 4 * i, h - eh + 1), d.below(67 + 4 * i, w - ew + 1)
            value = e.get("value", 0)
            if value == "random":
                words = [philox(d.key, d.index, 128 + n) for n in range((eh * ew * 3 + 7) // 8)]
                value = np.array(words, "<u8").view(np.uint8)[:eh * ew * 3].reshape(eh, ew, 3)
            pixels[y:y + eh, x:x + ew] = value
            break
        image = Image.fromarray(pixels)
    return image


CONFIGS = [
    {}, {"flip": 1}, {"flip": 0.5},
    {"crop": {}}, {"crop": {"scale": [0.8, 1.0], "ratio": [0.9, 1.1], "size": 32}}, {"crop": {"scale": [0.08, 0.3], "size": [20, 31]}},
    {"crop": {"scale": [0.9, 1.0], "ratio": [3.5, 4.0]}}, {"crop": {"scale": [1, 1], "ratio": [0.1, 0.11]}},
    {"color": {"brightness": 0.6}}, {"color": {"brightness": [1.5, 3]}}, {"color": {"contrast": 0.7}}, {"color": {"contrast": [0, 0]}},
    {"color": {"contrast": [2, 4]}}, {"color": {"saturation": 0.9}}, {"color": {"saturation": [0, 0]}}, {"color": {"saturation": [1.5, 5]}},
    {"color": {"hue": 0.5}}, {"color": {"hue": [-0.01, 0.02]}}, {"color": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    {"erase": {"p": 1}}, {"erase": {"value": [1, 200, 77]}}, {"erase": {"p": 1, "value": "random", "scale": [0.3, 0.6]}},
    {"erase": {"p": 1, "scale": [0.9, 1], "ratio": [3, 3.3], "value": 9}},
    {"affine": {}}, {"affine": {"degrees": 0, "translate": [0.3, 0.2]}}, {"affine": {"degrees": 90, "translate": [0.1, 0.1]}},
    {"affine": {"degrees": 0, "translate": [0.3, 0.2], "fill": "edge"}}, {"affine": {"degrees": 30, "scale": [0.5, 2], "fill": [1, 200, 77]}},
    {"affine": {"degrees": 180, "translate": [0.5, 0.5], "scale": [0.6, 1.5], "fill": "edge"}},
    {"affine": {"degrees": 5, "translate": [0.05, 0.05]}, "crop": {"scale": [0.6, 1]}, "flip": 0.5,
     "color": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}, "erase": {"p": 0.5, "value": "random"}},
]

if __name__ == "__main__":
    cases = []
    for number, config in enumerate(CONFIGS):
        for k, (w, h) in enumerate([(41, 29), (12, 64), (1, 1), (150, 110)]):
            seed, epoch, index = (number * 0x123456789ABCD + k) % 2**53, k * 7, number + 1000 * k
            got = augment(noise(w, h), config, seed, epoch, index)
            cases.append({"config": config, "seed": seed, "epoch": epoch, "index": index, "size": [w, h], "out": list(got.size),
                          "crc": zlib.crc32(got.tobytes())})
    print("[" + ",\n ".join(json.dumps(c) for c in cases) + "]")
