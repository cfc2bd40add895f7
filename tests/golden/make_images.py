#!/usr/bin/env python3
"""Make tests/golden/images: small awkward PNG and JPEG files, and what Pillow and transformers make of them.

Needs Pillow, numpy, transformers; `make check` needs none of them, only what this script wrote:

  images/*.png, *.jpg    the files
  images/decode.txt      FILE WIDTH HEIGHT CRC32           of exif_transpose(open(FILE)).convert("RGB"), RGB bytes
  images/resize.txt      W H OUT_W OUT_H FILTER CRC32      of Image.resize on the noise picture W x H (see noise())
  images/*.json          configs of image processors
  images/preprocess.txt  CONFIG W H OUT_W OUT_H CRC32 FIRST MIDDLE LAST   of the float32 planes made from noise W x H
  images/processor_configs.txt  NAME JSON   of more image processors
  images/processors.txt  CONFIG PICTURES NAME DTYPE SHAPE CRC32 FIRST MIDDLE LAST   of each array that the processor makes of the
                         pictures (joined by +, each a file or the noise WxH); NAME is "refused" where transformers raises

usage: make_images.py [DIRECTORY]
SPDX-License-Identifier: MIT
"""
import io
import json
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]  # x, y, dx, dy
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG colour type


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def filter_rows(rows, bpp, first_filter):
    """PNG filters 0..4 in turn, so that every one is met."""
    out, previous = bytearray(), bytes(len(rows[0]))
    for i, row in enumerate(rows):
        kind = (first_filter + i) % 5
        out.append(kind)
        for x, value in enumerate(row):
            a = row[x - bpp] if x >= bpp else 0
            b = previous[x]
            c = previous[x - bpp] if x >= bpp else 0
            if kind == 4:
                p = a + b - c
                pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
                guess = a if pa <= pb and pa <= pc else b if pb <= pc else c
            else:
                guess = (0, a, b, (a + b) // 2)[kind]
            out.append((value - guess) & 255)
        previous = row
    return bytes(out)


def png(samples, color_type, depth, interlaced=False, before=(), after=(), palette=None, idat=1 << 30):
    """A PNG from samples [height, width, channels]; `before` and `after` are chunks beside IDAT, which is cut into pieces."""
    height, width = samples.shape[:2]
    bpp = max(1, CHANNELS[color_type] * depth // 8)
    raw = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y0::dy, x0::dx]
        if not part.size:
            continue
        rows = []
        for line in part.reshape(part.shape[0], -1):
            if depth == 16:
                rows.append(line.astype(">u2").tobytes())
            elif depth == 8:
                rows.append(line.astype(np.uint8).tobytes())
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in line)
                bits += "0" * (-len(bits) % 8)
                rows.append(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))
        raw += filter_rows(rows, bpp, (x0 + y0) % 5)
    data = zlib.compress(raw, 9)
    out = PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced)))
    out += b"".join(b for b in before if b[4:8] not in (b"tRNS",))
    if palette is not None:
        out += chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())
    out += b"".join(b for b in before if b[4:8] == b"tRNS")
    for i in range(0, len(data), idat):
        out += chunk(b"IDAT", data[i : i + idat])
    return out + b"".join(after) + chunk(b"IEND", b"")


def random_samples(rng, width, height, color_type, depth):
    samples = rng.integers(0, 1 << depth, (height, width, CHANNELS[color_type]))
    if color_type == 0 and depth == 16:  # Pillow clips these, so have small ones too
        samples = np.where(rng.random(samples.shape) < 0.5, samples >> 8, samples)
    return samples


def exif(orientation, big=True, prefix=False):
    e = ">" if big else "<"
    block = (b"MM\0*" if big else b"II*\0") + struct.pack(e + "I", 8)
    block += struct.pack(e + "HHHI", 2, 0x0100, 3, 1) + struct.pack(e + "HH", 5, 0)
    block += struct.pack(e + "HHI", 274, 3, 1) + struct.pack(e + "HH", orientation, 0) + struct.pack(e + "I", 0)
    return b"Exif\0\0" + block if prefix else block


def xmp(orientation, element=False):
    body = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else f'<rdf:Description tiff:Orientation="{orientation}"/>'
    return ("<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF>tiff:Orientation tiff:" + body + "</rdf:RDF></x:xmpmeta>").encode()


def picture(width, height, mode="RGB"):
    """Smooth colours with an edge: what a JPEG is made of."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [
        128 + 120 * np.sin(x / 5 + y / 9),
        255 * x / max(1, width - 1),
        np.where((x + 2 * y) % 23 < 9, 220, 30),
        255 * y / max(1, height - 1),
    ]
    a = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return Image.fromarray({"RGB": a[..., :3], "L": a[..., 0], "CMYK": a}[mode], mode if mode == "CMYK" else None)


def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def as_ycck(data):
    """The same coded numbers, called YCCK by Adobe's marker instead of CMYK."""
    at = data.index(b"\xff\xee")
    assert data[at + 4 : at + 9] == b"Adobe" and data[at + 15] == 0
    return data[: at + 15] + b"\2" + data[at + 16 :]


def noise(width, height):
    """Bytes of a linear congruential generator, the same in C (tests/unit): seed W * 65536 + H."""
    n = width * height * 3
    state, out = (width * 65536 + height) & 0xFFFFFFFF, bytearray(n)
    for i in range(n):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = state >> 24
    return Image.frombytes("RGB", (width, height), bytes(out))


def decoded(data):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def crc(data):
    return f"{zlib.crc32(data):08x}"


def files():
    rng = np.random.default_rng(20240601)
    made = {}
    for color_type, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            for interlaced in (False, True):
                w, h = (13, 9) if not interlaced else (11, 14)
                palette = rng.integers(0, 256, 3 * (1 << depth)) if color_type == 3 else None
                samples = random_samples(rng, w, h, color_type, depth)
                name = f"png_type{color_type}_{depth}bit{'_adam7' if interlaced else ''}.png"
                made[name] = png(samples, color_type, depth, interlaced, palette=palette, idat=61)
    one = rng.integers(0, 256, (1, 1, 3))
    made["png_1x1.png"] = png(one, 2, 8)
    made["png_1x1_adam7.png"] = png(one, 2, 8, True)
    made["png_wide.png"] = png(rng.integers(0, 256, (1, 300, 3)), 2, 8)
    made["png_high_adam7.png"] = png(rng.integers(0, 256, (200, 1, 3)), 2, 8, True)
    for w in range(1, 10):  # passes of Adam7 come and go with the width
        made[f"png_adam7_{w}x{10 - w}.png"] = png(rng.integers(0, 4, (10 - w, w, 1)), 0, 2, True)
    gamma, trns = chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"tRNS", bytes([0, 128, 255, 7]))
    colors = rng.integers(0, 256, 3 * 16)
    indexed = rng.integers(0, 16, (12, 12, 1))
    made["png_palette_trns_gamma.png"] = png(indexed, 3, 8, before=[gamma, trns], palette=colors)
    made["png_palette_trns_4bit_adam7.png"] = png(indexed, 3, 4, True, before=[gamma, trns], palette=colors)
    made["png_palette_short.png"] = png(indexed, 3, 4, palette=colors[:15])  # indices past the palette
    made["png_gray_trns.png"] = png(rng.integers(0, 256, (7, 7, 1)), 0, 8, before=[chunk(b"tRNS", b"\0\x10")])
    made["png_rgb_trns_srgb.png"] = png(rng.integers(0, 256, (7, 7, 3)), 2, 8, before=[chunk(b"sRGB", b"\0"), chunk(b"tRNS", b"\0\1\0\2\0\3")])
    made["png_rgb16_gamma.png"] = png(rng.integers(0, 65536, (7, 7, 3)), 2, 16, before=[gamma])
    made["png_alpha_zero.png"] = png(np.dstack([rng.integers(0, 256, (8, 8, 3)), np.zeros((8, 8), int)]), 6, 8)
    made["png_text.png"] = png(one, 2, 8, before=[chunk(b"tEXt", b"Comment\0hello"), chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 999))])
    made["png_solid.png"] = png(np.full((64, 64, 1), 1), 0, 1)  # compresses as well as deflate can
    small = rng.integers(0, 256, (3, 5, 3))
    for o in range(1, 9):
        made[f"png_exif_{o}.png"] = png(small, 2, 8, before=[chunk(b"eXIf", exif(o, big=o % 2 == 0))])
    made["png_exif_behind.png"] = png(small, 2, 8, after=[chunk(b"eXIf", exif(6))])
    made["png_xmp_8.png"] = png(small, 2, 8, before=[chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8))])
    made["png_exif_before_xmp.png"] = png(small, 2, 8, before=[chunk(b"eXIf", exif(3)), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8))])

    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        made[f"jpeg_{name}.jpg"] = jpeg(picture(45, 35), subsampling=subsampling, quality=80)
        made[f"jpeg_{name}_progressive.jpg"] = jpeg(picture(35, 45), subsampling=subsampling, quality=60, progressive=True)
    made["jpeg_1x1.jpg"] = jpeg(picture(1, 1))
    made["jpeg_wide.jpg"] = jpeg(picture(250, 1), subsampling=2)
    made["jpeg_high_progressive.jpg"] = jpeg(picture(1, 130), subsampling=2, progressive=True)
    made["jpeg_17x15.jpg"] = jpeg(picture(17, 15), subsampling=2, quality=100)
    made["jpeg_quality1.jpg"] = jpeg(picture(33, 33), quality=1)
    made["jpeg_restart.jpg"] = jpeg(picture(64, 40), quality=75, restart_marker_blocks=1)
    made["jpeg_optimize.jpg"] = jpeg(picture(40, 30), quality=90, optimize=True)
    made["jpeg_gray.jpg"] = jpeg(picture(29, 31, "L"), quality=85)
    made["jpeg_gray_progressive.jpg"] = jpeg(picture(31, 29, "L"), quality=85, progressive=True)
    made["jpeg_rgb.jpg"] = jpeg(picture(30, 20), quality=85, keep_rgb=True)
    made["jpeg_cmyk.jpg"] = jpeg(picture(30, 20, "CMYK"), quality=90)
    made["jpeg_cmyk_progressive.jpg"] = jpeg(picture(20, 30, "CMYK"), quality=90, progressive=True)
    made["jpeg_ycck.jpg"] = as_ycck(jpeg(picture(30, 20, "CMYK"), quality=90))
    for o in range(1, 9):
        made[f"jpeg_exif_{o}.jpg"] = jpeg(picture(23, 11), quality=80, exif=exif(o, big=o % 2 == 1, prefix=True))
    made["jpeg_exif_9.jpg"] = jpeg(picture(23, 11), quality=80, exif=exif(9, prefix=True))
    made["jpeg_exif_twice.jpg"] = jpeg(picture(23, 11), quality=80, exif=b"Exif\0\0" + exif(6, prefix=True))
    made["jpeg_xmp_6.jpg"] = jpeg(picture(23, 11), quality=80, xmp=xmp(6, element=True))
    made["jpeg_gray_exif_5.jpg"] = jpeg(picture(9, 40, "L"), quality=80, exif=exif(5, prefix=True))
    return made


RESIZES = [
    (1, 1, 1, 1), (1, 1, 7, 5), (7, 5, 1, 1), (2, 2, 3, 3), (3, 3, 2, 2), (16, 16, 16, 16), (16, 16, 16, 9), (16, 16, 9, 16),
    (17, 23, 31, 11), (64, 48, 24, 24), (48, 64, 24, 32), (100, 1, 13, 1), (100, 1, 13, 9), (1, 100, 1, 13), (1, 100, 9, 13),
    (1, 300, 24, 24), (300, 1, 24, 24), (5, 200, 200, 5), (33, 77, 224, 224), (199, 133, 37, 41), (40, 30, 41, 31), (41, 31, 40, 30),
    (256, 256, 224, 224), (8, 9, 64, 72), (320, 200, 8, 9), (11, 11, 110, 3), (255, 7, 3, 255), (13, 640, 5, 2), (90, 90, 30, 30),
]

CONFIGS = {
    "vit_defaults": {"image_processor_type": "ViTImageProcessor"},
    "vit_old": {"feature_extractor_type": "ViTFeatureExtractor", "size": 48, "resample": 2, "do_resize": True, "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
    "vit_fast": {"image_processor_type": "ViTImageProcessorFast", "size": {"height": 40, "width": 56}, "resample": 3,
                 "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "rescale_factor": 0.00392156862745098},
    "dinov2": {"image_processor_type": "BitImageProcessor", "do_convert_rgb": True, "do_resize": True, "size": {"shortest_edge": 64},
               "resample": 3, "do_center_crop": True, "crop_size": {"height": 56, "width": 56}, "do_rescale": True,
               "rescale_factor": 0.00392156862745098, "do_normalize": True, "image_mean": [0.485, 0.456, 0.406],
               "image_std": [0.229, 0.224, 0.225]},
    "bit_large_crop": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 30}, "crop_size": {"height": 45, "width": 31}},
    "clip_defaults": {"image_processor_type": "CLIPImageProcessor"},
    "clip_old": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 50, "crop_size": 40, "resample": 3, "do_center_crop": True},
    "clip_square": {"image_processor_type": "CLIPImageProcessor", "use_square_size": True, "size": 50, "do_center_crop": False},
    "clip_longest": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 40, "longest_edge": 66},
                     "do_center_crop": False},
    "clip_no_resize": {"image_processor_type": "CLIPImageProcessor", "do_resize": False, "crop_size": [36, 50]},
    "deit_defaults": {"image_processor_type": "DeiTImageProcessor"},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 36, "width": 36}},
    "siglip_number": {"image_processor_type": "SiglipImageProcessor", "size": 36},
    "blip_defaults": {"image_processor_type": "BlipImageProcessor"},
    "pvt_inside": {"image_processor_type": "PvtImageProcessor", "size": {"max_height": 50, "max_width": 90}, "resample": 1},
    "vit_pad": {"image_processor_type": "ViTImageProcessor", "size": {"height": 20, "width": 30}, "do_pad": True,
                "pad_size": {"height": 33, "width": 31}, "resample": 4},
    "vit_rescale_only": {"image_processor_type": "ViTImageProcessor", "size": [21, 22], "do_normalize": False, "rescale_factor": 0.1,
                         "resample": 0},
    "vit_normalize_only": {"image_processor_type": "ViTImageProcessor", "size": [21, 22], "do_rescale": False, "image_mean": 120.5,
                           "image_std": [60, 61.5, 62.25], "resample": 5},
    "vit_raw": {"image_processor_type": "ViTImageProcessor", "size": [21, 22], "do_rescale": False, "do_normalize": False},
    "nested": {"processor_class": "CLIPProcessor", "image_processor": {"image_processor_type": "CLIPImageProcessorFast",
               "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 24}}},
}

PICTURES = [(1, 1), (64, 48), (48, 65), (90, 30), (31, 77), (56, 56), (200, 3)]


IDEFICS = {"size": {"longest_edge": 4 * 24}, "max_image_size": {"longest_edge": 24}, "resample": 1}
QWEN = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2, "merge_size": 2}
PROCESSORS = {
    "vit_mae": {"image_processor_type": "ViTImageProcessor", "size": 32, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "trocr": {"image_processor_type": "DeiTImageProcessor", "size": {"height": 38, "width": 38}, "do_center_crop": False, "resample": 2},
    "dinov2": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 40}, "crop_size": 34},
    "clip": {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}},
    "siglip": {"image_processor_type": "SiglipImageProcessorPil", "size": {"height": 30, "width": 30}},
    "paligemma": {"image_processor": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 28, "width": 28}, "image_seq_length": 4,
                                      "do_convert_rgb": None}, "processor_class": "PaliGemmaProcessor"},
    "blip": {"image_processor_type": "BlipImageProcessor", "size": {"height": 30, "width": 42}},
    "llava": {"image_processor_type": "LlavaImageProcessor", "size": {"shortest_edge": 30}, "crop_size": {"height": 26, "width": 30}},
    "llava_pad": {"image_processor_type": "LlavaImageProcessorFast", "size": 30, "crop_size": 30, "do_pad": True},
    "llava_pad_raw": {"image_processor_type": "LlavaImageProcessor", "do_pad": True, "do_resize": False, "crop_size": 50, "do_normalize": False,
                      "image_mean": [0.9, 0.1, 0.999]},
    "donut": {"image_processor_type": "DonutImageProcessor", "size": {"height": 64, "width": 48}},
    "donut_turned": {"image_processor_type": "DonutImageProcessor", "size": [48, 64], "do_align_long_axis": True, "resample": 3},
    "donut_wide": {"image_processor": {"image_processor_type": "DonutImageProcessor", "size": {"height": 33, "width": 77}, "do_align_long_axis": True,
                                       "resample": 0}},
    "donut_open": {"image_processor_type": "DonutImageProcessor", "size": 40, "do_pad": False, "do_rescale": False, "do_normalize": False},
    "donut_no_resize": {"image_processor_type": "DonutImageProcessor", "size": [31, 40], "do_resize": False, "do_center_crop": True,
                        "crop_size": [45, 20]},
    "donut_large": {"image_processor_type": "DonutImageProcessor", "size": {"height": 64, "width": 48}, "do_thumbnail": False},
    "idefics3": {"image_processor_type": "Idefics3ImageProcessor", **IDEFICS},
    "idefics3_whole": {"image_processor_type": "Idefics3ImageProcessor", **IDEFICS, "do_image_splitting": False},
    "idefics3_exact": {"image_processor": {"image_processor_type": "Idefics3ImageProcessorFast", "size": {"height": 50, "width": 70},
                                           "max_image_size": {"longest_edge": 24}, "resample": 3}},
    "smolvlm": {"image_processor_type": "SmolVLMImageProcessor", **IDEFICS, "do_normalize": False},
    "smolvlm_no_resize": {"image_processor_type": "SmolVLMImageProcessor", **IDEFICS, "do_resize": False, "do_pad": False},
    "mllama": {"image_processor_type": "MllamaImageProcessor", "size": {"height": 28, "width": 28}, "max_image_tiles": 4},
    "mllama_many": {"image_processor_type": "MllamaImageProcessorFast", "size": 20, "max_image_tiles": 7, "resample": 3, "do_normalize": False},
    "qwen2_vl": {**QWEN, "min_pixels": 40 * 40, "max_pixels": 100 * 100},
    "qwen2_vl_size": {**QWEN, "image_processor_type": "Qwen2VLImageProcessorFast", "size": {"shortest_edge": 64, "longest_edge": 3000}},
    "qwen2_5_vl": {"image_processor": {**QWEN, "size": {"shortest_edge": 3000, "longest_edge": 6000}, "patch_size": 7, "merge_size": 1,
                                       "temporal_patch_size": 3, "resample": 2}, "processor_class": "Qwen2_5_VLProcessor"},
    "qwen2_vl_no_resize": {**QWEN, "do_resize": False},
    "siglip2": {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 20},
    "siglip2_many": {"image_processor_type": "Siglip2ImageProcessorFast", "patch_size": 5, "max_num_patches": 97, "resample": 3},
    "siglip2_no_resize": {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 4800, "do_resize": False},
}
DEFAULTS = {kind.lower() + "_defaults": {"image_processor_type": kind + "ImageProcessor"}
            for kind in ("Idefics3", "SmolVLM", "Mllama", "Qwen2VL", "Siglip2", "Llava", "Donut")}
AWKWARD = ["png_1x1.png", "png_high_adam7.png", "png_wide.png", "png_palette_trns_gamma.png", "png_type0_16bit.png", "png_type0_1bit.png",
           "png_type6_16bit_adam7.png", "png_exif_6.png", "jpeg_gray.jpg", "jpeg_exif_5.jpg", "jpeg_cmyk.jpg", "jpeg_420_progressive.jpg", "jpeg_wide.jpg",
           "640x480", "97x24", "24x600", "3x601", "64x48", "48x64"]
SEVERAL = ["64x48+48x64", "png_exif_6.png+jpeg_420.jpg+640x480", "png_1x1.png+97x24"]


def processor(config):
    import transformers

    config = config.get("image_processor", config)
    kind = config.get("image_processor_type") or config["feature_extractor_type"].replace("FeatureExtractor", "ImageProcessor")
    return getattr(transformers, kind.removesuffix("Fast").removesuffix("Pil") + "Pil").from_dict(config)


def picture_of(folder, source):
    if "." not in source:
        return noise(*map(int, source.split("x")))
    with open(os.path.join(folder, source), "rb") as f:
        return decoded(f.read())


def all_arrays(config, images):
    """The arrays that a processor makes of the pictures of one prompt, as transformers names them."""
    p = processor(config)
    nested = type(p).__name__.startswith(("Idefics3", "SmolVLM", "Mllama"))
    more = {"return_row_col_info": True} if hasattr(p, "return_row_col_info") else {}
    arrays = {k: np.asarray(v) for k, v in p([images] if nested else images, **more).items()}
    return {k: v.astype(np.float32) if v.dtype.kind in "fu" else v for k, v in arrays.items()}


def processed(config, image):
    planes = np.asarray(processor(config)(image)["pixel_values"][0])
    return planes.astype(np.float32)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
    os.makedirs(folder, exist_ok=True)

    def path(name):
        return os.path.join(folder, name)

    with open(path("decode.txt"), "w") as out:
        for name, data in files().items():
            with open(path(name), "wb") as f:
                f.write(data)
            image = decoded(data)
            out.write(f"{name} {image.width} {image.height} {crc(image.tobytes())}\n")
    with open(path("resize.txt"), "w") as out:
        for w, h, out_w, out_h in RESIZES:
            image = noise(w, h)
            for kind in range(6):
                out.write(f"{w} {h} {out_w} {out_h} {kind} {crc(image.resize((out_w, out_h), kind).tobytes())}\n")
    with open(path("preprocess.txt"), "w") as out:
        for name, config in CONFIGS.items():
            with open(path(name + ".json"), "w") as f:
                json.dump(config, f, indent=1)
                f.write("\n")
            for w, h in PICTURES:
                try:
                    planes = processed(config, noise(w, h))
                except ValueError:  # a side of 0 pixels
                    out.write(f"{name} {w} {h} 0 0 00000000 0 0 0\n")
                    continue
                flat = planes.ravel()
                marks = " ".join(repr(float(flat[i])) for i in (0, flat.size // 2, flat.size - 1))
                out.write(f"{name} {w} {h} {planes.shape[2]} {planes.shape[1]} {crc(planes.tobytes())} {marks}\n")
    with open(path("processor_configs.txt"), "w") as f:
        for name, config in {**PROCESSORS, **DEFAULTS}.items():
            f.write(f"{name} {json.dumps(config)}\n")
    with open(path("processors.txt"), "w") as out:
        for name, config in {**PROCESSORS, **DEFAULTS}.items():
            for sources in ["97x24"] if name in DEFAULTS else AWKWARD + SEVERAL:
                try:
                    arrays = all_arrays(config, [picture_of(folder, s) for s in sources.split("+")])
                except ValueError:
                    arrays = {"refused": np.zeros(1)}
                for key, a in arrays.items():
                    flat = a.ravel()
                    marks = " ".join(repr(float(flat[i])) for i in (0, flat.size // 2, flat.size - 1))
                    shape = "x".join(map(str, a.shape))
                    out.write(f"{name} {sources} {key} {a.dtype} {shape} {crc(np.ascontiguousarray(a).tobytes())} {marks}\n")


if __name__ == "__main__":
    main()
