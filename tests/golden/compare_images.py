#!/usr/bin/env python3
"""Hold libmm's image code against Pillow and transformers on many random inputs, and count the differences.

Needs what make_images.py needs, and the driver:

  cc -std=c11 -O2 -Iinclude -Isrc/base -Isrc/formats -Isrc/image -o build/image_driver tests/golden/image_driver.c lib/libmm.a \\
     -lpng -ljpeg -lcjson -lutf8proc -lpcre2-8 -lopenblas -lm -pthread

Pillow's wheels bring their own libjpeg-turbo. Where its pixels differ from the system's, run the driver on the wheel's:
--preload .../pillow.libs/libjpeg-*.so*

usage: compare_images.py [--driver build/image_driver] [--preload LIB] [--seed N] [--count N]
                         [decode|resize|window|preprocess|truncate]...
SPDX-License-Identifier: MIT
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

import make_images as make

warnings.filterwarnings("ignore")


class Driver:
    def __init__(self, path, preload):
        env = dict(os.environ, **({"LD_PRELOAD": preload} if preload else {}))
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

    def ask(self, *fields):
        """(width, height, bytes), or the sentence of a failure."""
        self.process.stdin.write("\t".join(map(str, fields)).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode().rstrip("\n").split("\t")
        if answer[0] != "ok":
            return " ".join(answer[1:])
        return int(answer[1]), int(answer[2]), self.process.stdout.read(int(answer[3]))


def random_side(rng, most):
    """Small sides often, 1 very often."""
    return int(1 if rng.random() < 0.15 else np.exp(rng.uniform(0, np.log(most))))


def random_png(rng):
    color_type = int(rng.choice([0, 2, 3, 4, 6]))
    depth = int(rng.choice({0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8]}.get(color_type, [8, 16])))
    w, h = random_side(rng, 90), random_side(rng, 90)
    before, after, palette = [], [], None
    if color_type == 3:
        palette = rng.integers(0, 256, 3 * int(rng.integers(1, (1 << depth) + 1)))
    if rng.random() < 0.3:
        before.append(make.chunk(b"gAMA", make.struct.pack(">I", int(rng.integers(1, 200000)))))
    if rng.random() < 0.4 and color_type in (0, 2, 3):
        before.append(make.chunk(b"tRNS", rng.bytes({0: 2, 2: 6}.get(color_type) or len(palette) // 3)))
    if rng.random() < 0.3:
        (before if rng.random() < 0.5 else after).append(make.chunk(b"eXIf", make.exif(int(rng.integers(0, 11)), rng.random() < 0.5)))
    elif rng.random() < 0.3:
        text = make.xmp(int(rng.integers(0, 10)), rng.random() < 0.5)
        (before if rng.random() < 0.5 else after).append(make.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text))
    samples = make.random_samples(rng, w, h, color_type, depth)
    return make.png(samples, color_type, depth, rng.random() < 0.5, before, after, palette, int(rng.integers(1, 5000)))


def random_jpeg(rng):
    w, h = random_side(rng, 300), random_side(rng, 300)
    mode = str(rng.choice(["RGB", "RGB", "RGB", "L", "CMYK"]))
    image = make.picture(w, h, mode)
    if rng.random() < 0.3:
        a = np.asarray(image).astype(int) + rng.integers(-60, 61, np.asarray(image).shape)
        image = Image.fromarray(np.clip(a, 0, 255).astype(np.uint8), mode if mode == "CMYK" else None)
    options = {"quality": int(rng.integers(1, 101)), "subsampling": int(rng.integers(0, 3))}
    if rng.random() < 0.4:
        options["progressive"] = True
    if rng.random() < 0.2:
        options["restart_marker_blocks"] = int(rng.integers(1, 40))
    if rng.random() < 0.3:
        options["exif"] = make.exif(int(rng.integers(0, 11)), rng.random() < 0.5, prefix=True)
    elif rng.random() < 0.2:
        options["xmp"] = make.xmp(int(rng.integers(0, 10)), rng.random() < 0.5)
    if mode == "RGB" and rng.random() < 0.1:
        options["keep_rgb"] = True
        options["subsampling"] = 0
    try:
        data = make.jpeg(image, **options)
    except OSError:  # Pillow's buffer is too small for noise at a high quality
        data = make.jpeg(image, **dict(options, quality=50))
    return make.as_ycck(data) if mode == "CMYK" and rng.random() < 0.5 else data


def last_needed(data):
    """Cut before this offset and pixels of the PNG are missing: 8 bytes before its last IDAT byte, since a deflate stream
    ends in a checksum and an end mark. What is cut off behind is up to the reader: Pillow and libpng differ."""
    at, offsets = 8, []
    while at < len(data):
        n = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            offsets += range(at + 8, at + 8 + n)
        at += 12 + n
    return offsets[-8]


class Comparison:
    def __init__(self, driver, folder, seed):
        self.driver, self.folder, self.rng = driver, folder, np.random.default_rng(seed)

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def differs(self, what, ours, theirs):
        if isinstance(ours, str):
            print(f"{what}: {ours}")
            return 1
        if ours[:2] != theirs.size or ours[2] != theirs.tobytes():
            a = np.frombuffer(ours[2], np.uint8).astype(int)
            b = np.frombuffer(theirs.tobytes(), np.uint8).astype(int)
            apart = f"{np.count_nonzero(a - b)} of {b.size} bytes, at most by {np.abs(a - b).max()}" if a.size == b.size else "size"
            print(f"{what}: {ours[:2]} {theirs.size} differ: {apart}")
            return 1
        return 0

    def decode(self):
        jpeg = self.rng.random() < 0.5
        data = random_jpeg(self.rng) if jpeg else random_png(self.rng)
        path = self.write("picture", data)
        return self.differs("decode", self.driver.ask("decode", path), make.decoded(data))

    def resize_case(self):
        w, h, out_w, out_h = (random_side(self.rng, 400) for _ in range(4))
        if self.rng.random() < 0.1:
            out_w = w
        if self.rng.random() < 0.1:
            out_h = h
        image = Image.fromarray(self.rng.integers(0, 256, (h, w, 3)).astype(np.uint8))
        if self.rng.random() < 0.3:  # edges of full contrast make the filters overshoot
            image = image.point(lambda v: 255 if v > 127 else 0)
        kind = int(self.rng.integers(0, 6))
        path = os.path.join(self.folder, "picture.png")
        image.save(path, compress_level=1)
        return path, out_w, out_h, kind, image.resize((out_w, out_h), kind)

    def resize(self):
        path, w, h, kind, theirs = self.resize_case()
        return self.differs(f"resize to {w} {h} by {kind}", self.driver.ask("resize", path, w, h, kind), theirs)

    def window(self):
        path, w, h, kind, theirs = self.resize_case()
        x, y = int(self.rng.integers(0, w)), int(self.rng.integers(0, h))
        ww, hh = int(self.rng.integers(1, w - x + 1)), int(self.rng.integers(1, h - y + 1))
        ours = self.driver.ask("window", path, w, h, kind, x, y, ww, hh)
        return self.differs(f"window of {w} {h} by {kind}", ours, theirs.crop((x, y, x + ww, y + hh)))

    def size_config(self, kind):
        rng = self.rng
        a, b = (int(rng.integers(1, 150)) for _ in range(2))
        square = {"size": {"height": a, "width": a}} if rng.random() < 0.5 else {"size": a}
        if kind == "Mllama":
            return dict(square, max_image_tiles=int(rng.integers(1, 10)))
        if kind == "Siglip2":
            return {"patch_size": int(rng.integers(1, 20)), "max_num_patches": int(rng.integers(1, 150))}
        if kind == "Qwen2VL":
            least, most = sorted(int(np.exp(v)) for v in rng.uniform(0, 11, 2))
            size = {"size": {"shortest_edge": least, "longest_edge": most}} if rng.random() < 0.5 else {"min_pixels": least, "max_pixels": most}
            return dict(size, patch_size=int(rng.integers(1, 16)), merge_size=int(rng.integers(1, 4)), temporal_patch_size=int(rng.integers(1, 4)))
        if kind in ("Idefics3", "SmolVLM"):
            size = {"longest_edge": int(rng.integers(1, 200))} if rng.random() < 0.8 else {"height": a, "width": b}
            return {"size": size, "max_image_size": {"longest_edge": int(rng.integers(8, 60))}, "do_image_splitting": bool(rng.random() < 0.8)}
        if kind == "Donut":
            return {"size": [a, [a, b], {"height": a, "width": b}][rng.integers(0, 3)], "do_thumbnail": bool(rng.random() < 0.8),
                    "do_align_long_axis": bool(rng.random() < 0.5), "do_pad": bool(rng.random() < 0.8)}
        rules = [a, {"height": a, "width": b}, {"shortest_edge": a}, {"shortest_edge": min(a, b), "longest_edge": max(a, b)},
                 {"max_height": a, "max_width": b}, [a, b]]
        return {"size": rules[rng.integers(0, len(rules))], **({"do_pad": bool(rng.random() < 0.6)} if kind == "Llava" else {})}

    def random_config(self):
        rng = self.rng
        kind = str(rng.choice(["ViT", "Bit", "CLIP", "DeiT", "Siglip", "Blip", "Pvt", "ChineseCLIP", "Llava", "Donut", "Idefics3", "SmolVLM",
                               "Mllama", "Qwen2VL", "Siglip2"]))
        config = {"image_processor_type": kind + "ImageProcessor" + str(rng.choice(["", "Fast"])), "resample": int(rng.integers(0, 6))}
        config.update(self.size_config(kind))
        if kind not in ("Idefics3", "SmolVLM", "Mllama", "Qwen2VL", "Siglip2"):
            if rng.random() < 0.6:
                config["do_center_crop"] = bool(rng.random() < 0.7)
                height, width = (int(rng.integers(1, 150)) for _ in range(2))
                config["crop_size"] = height if rng.random() < 0.5 else {"height": height, "width": width}
            elif kind not in ("Bit", "CLIP", "DeiT", "ChineseCLIP", "Llava"):
                config["do_center_crop"] = False
        if rng.random() < 0.5:
            config["image_mean"] = [float(v) for v in rng.random(3)]
            config["image_std"] = [float(v) + 0.01 for v in rng.random(3)]
        for key in ("do_rescale", "do_normalize", "do_resize"):
            if rng.random() < 0.15 and (kind, key) != ("Mllama", "do_resize"):
                config[key] = False
        if rng.random() < 0.2:
            config["rescale_factor"] = float(rng.random() / 100)
        return config if rng.random() < 0.5 else {"image_processor": config}

    def preprocess(self):
        config, images, paths = self.random_config(), [], []
        for i in range(1 if self.rng.random() < 0.7 else int(self.rng.integers(1, 4))):
            w, h = random_side(self.rng, 200), random_side(self.rng, 200)
            images.append(Image.fromarray(self.rng.integers(0, 256, (h, w, 3)).astype(np.uint8)))
            paths.append(os.path.join(self.folder, f"picture{i}.png"))
            images[-1].save(paths[-1], compress_level=1)
        try:
            theirs = make.all_arrays(config, images)
        except (ValueError, RuntimeError, np.exceptions.AxisError) as e:
            theirs = str(e)
        out = os.path.join(self.folder, "out.safetensors")
        ours = self.driver.ask("preprocess", self.write("config.json", json.dumps(config).encode()), out, *paths)
        what = f"preprocess {config} of {[i.size for i in images]}"
        if isinstance(theirs, str) or isinstance(ours, str):
            if isinstance(theirs, str) and isinstance(ours, str) or "max_num_patches" in ours:  # transformers lets the mask be shorter
                return 0
            print(f"{what}: {ours if isinstance(ours, str) else 'done'}; transformers: {theirs if isinstance(theirs, str) else 'done'}")
            return 1
        ours = load_file(out)
        theirs = {k: v for k, v in theirs.items() if k not in ("rows", "cols")}
        if ours.keys() != theirs.keys():
            print(f"{what}: {sorted(ours)} {sorted(theirs)}")
            return 1
        for name, a in theirs.items():
            if ours[name].shape != a.shape or ours[name].dtype != a.dtype or ours[name].tobytes() != a.tobytes():
                apart = f"{np.count_nonzero(ours[name] != a)} of {a.size}" if ours[name].shape == a.shape else f"{ours[name].shape} {a.shape}"
                print(f"{what}: {name} {ours[name].dtype} {a.dtype} differ: {apart}")
                return 1
        return 0

    def truncate(self):
        """A file cut somewhere: both fail, or both give the same picture."""
        data = random_jpeg(self.rng) if self.rng.random() < 0.5 else random_png(self.rng)
        data = data[: int(self.rng.integers(0, len(data) if data[:1] == b"\xff" else last_needed(data)))]
        ours = self.driver.ask("decode", self.write("picture", data))
        try:
            theirs = make.decoded(data)
        except Exception:
            theirs = None
        if theirs is None:
            if not isinstance(ours, str):
                print(f"truncate: {len(data)} bytes are read here but not by Pillow")
            return int(not isinstance(ours, str))
        return self.differs(f"truncate to {len(data)} bytes of {data[:4]}", ours, theirs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", default="build/image_driver")
    parser.add_argument("--preload")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("what", nargs="*", default=["decode", "resize", "window", "preprocess", "truncate"])
    args = parser.parse_args()
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for what in args.what:
            comparison = Comparison(Driver(args.driver, args.preload), folder, args.seed)
            bad = sum(getattr(comparison, what)() for _ in range(args.count))
            print(f"{what}: {args.count} compared, {bad} differ")
            total += bad
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
