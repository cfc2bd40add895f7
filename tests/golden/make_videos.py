#!/usr/bin/env python3
"""Make tests/golden/videos: small YUV4MPEG2 files, their frames in RGB, and what transformers' video processors make of them.

Needs numpy, transformers, torchvision, safetensors, and PyAV (ffmpeg), which is held against the conversion to RGB that is
written here. `make check` needs none of them, only what this script wrote:

  videos/*.y4m            the files
  videos/frames.txt       FILE INDEX WIDTH HEIGHT CRC32        of a frame's RGB bytes
  videos/configs.txt      NAME JSON                            configs of video processors
  videos/sampling.txt     NAME FRAMES RATE COUNT CRC32 MIDDLE  of the sampled indices as int64; COUNT 0: transformers raises
  videos/processed.safetensors   CASE/ARRAY                    what NAME (all of CASE before the dot) makes of processed.y4m

usage: make_videos.py [DIRECTORY]
SPDX-License-Identifier: MIT
"""
import io
import json
import os
import sys
import zlib

import av
import numpy as np
from safetensors.numpy import save_file

LAYOUTS = {"420": (2, 2), "420jpeg": (2, 2), "420mpeg2": (2, 2), "420paldv": (2, 2), "422": (2, 1), "444": (1, 1), "mono": None}


def crc(data):
    return f"{zlib.crc32(data):08x}"


def planes_of(rng, width, height, layout, smooth):
    shrink = LAYOUTS[layout]
    shapes = [(height, width)] + ([(-(-height // shrink[1]), -(-width // shrink[0]))] * 2 if shrink else [])
    if not smooth:
        return [rng.integers(0, 256, s, dtype=np.uint8) for s in shapes]
    return [np.clip(128 + 90 * np.sin(np.add.outer(np.arange(s[0]), np.arange(s[1])) / 3 + i), 0, 255).astype(np.uint8) for i, s in enumerate(shapes)]


def y4m(frames, width, height, parameters, frame_parameters=""):
    out = f"YUV4MPEG2 W{width} H{height}{parameters}\n".encode()
    return out + b"".join(f"FRAME{frame_parameters}\n".encode() + b"".join(p.tobytes() for p in planes) for planes in frames)


def rgb(planes, full):
    """ITU-R BT.601 by its matrix; each sample of color spread over its block."""
    height, width = planes[0].shape
    y = planes[0].astype(np.float64) - (0 if full else 16)
    y *= 1 if full else 255 / 219
    if len(planes) == 1:
        u = v = np.zeros_like(y)
    else:
        ch, cw = planes[1].shape
        rows, cols = np.arange(height) * ch // (ch * -(-height // ch)), np.arange(width) * cw // (cw * -(-width // cw))
        u, v = (p.astype(np.float64)[rows][:, cols] - 128 for p in planes[1:])
        if not full:
            u, v = u * 255 / 224, v * 255 / 224
    matrix = np.linalg.inv(np.array([[0.299, 0.587, 0.114], [-0.299 / 1.772, -0.587 / 1.772, 0.5], [0.5, -0.587 / 1.402, -0.114 / 1.402]]))
    return np.clip(np.floor(np.stack([y, u, v], -1) @ matrix.T + 0.5 + 1e-9), 0, 255).astype(np.uint8)


def check_against_ffmpeg(rng):
    """ffmpeg rounds more coarsely, and spreads the color of odd sizes in another way."""
    for layout in LAYOUTS:
        for range_ in ("LIMITED", "FULL"):
            planes = planes_of(rng, 64, 48, layout, True)
            data = y4m([planes], 64, 48, f" F24:1 Ip C{layout} XCOLORRANGE={range_}")
            with av.open(io.BytesIO(data), format="yuv4mpegpipe") as film:
                theirs = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)][0]
            apart = np.abs(theirs.astype(int) - rgb(planes, range_ == "FULL" or layout == "mono").astype(int)).max()
            assert apart <= 3, (layout, range_, apart)


def videos(rng):
    made = {}
    for layout in LAYOUTS:
        for full in (False, True):
            frames = [planes_of(rng, 9, 7, layout, False), planes_of(rng, 9, 7, layout, True)]
            made[f"{layout}_{'full' if full else 'limited'}.y4m"] = (frames, full, 9, 7,
                f" F30000:1001 Ip A1:1 C{layout} XYSCSS=TEST" + (" XCOLORRANGE=FULL" if full else " XCOLORRANGE=LIMITED"), "")
    made["bare.y4m"] = ([planes_of(rng, 4, 3, "420jpeg", False) for _ in range(3)], False, 4, 3, "", " Ip XMORE")
    made["one.y4m"] = ([planes_of(rng, 1, 1, "420", False)], False, 1, 1, " F5:1 C420", "")
    made["processed.y4m"] = ([planes_of(rng, 16, 8, "444", i % 2) for i in range(5)], False, 16, 8, " F2:1 Ip C444", "")
    return made


QWEN = {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": 2, "merge_size": 2, "min_frames": 2}
CONFIGS = {
    "qwen": {**QWEN, "size": {"shortest_edge": 16, "longest_edge": 128}},
    "qwen_min_max": {"video_processor": {**QWEN, "min_pixels": 16, "max_pixels": 128, "temporal_patch_size": 3, "do_normalize": False}},
    "qwen_small": {**QWEN, "size": {"shortest_edge": 16, "longest_edge": 70}, "fps": 2.0, "do_sample_frames": True, "resample": 3},
    "qwen_large": {**QWEN, "size": {"shortest_edge": 200, "longest_edge": 300}, "num_frames": 4, "do_sample_frames": True, "resample": 2},
    "qwen_capped": {**QWEN, "size": {"shortest_edge": 16, "longest_edge": 128}, "cap_pixels_per_frame": True, "max_video_tokens": 15},
    "qwen_fps1": {**QWEN, "fps": 1, "min_frames": 4, "max_frames": 16, "do_sample_frames": True},
    "qwen_odd": {**QWEN, "fps": 0.7, "min_frames": 1, "max_frames": 31, "temporal_patch_size": 3, "do_sample_frames": True},
    "qwen_count": {**QWEN, "num_frames": 7, "do_sample_frames": True},
    "smolvlm": {"video_processor_type": "SmolVLMVideoProcessor", "size": {"longest_edge": 24}, "max_image_size": {"longest_edge": 12}, "resample": 3,
                "num_frames": 4, "fps": 1, "do_sample_frames": True},
    "smolvlm_many": {"video_processor": {"video_processor_type": "SmolVLMVideoProcessor", "num_frames": 10, "fps": 2, "do_sample_frames": True,
                                         "size": {"longest_edge": 24}, "max_image_size": {"longest_edge": 12}, "resample": 2}},
}
LENGTHS = [(1, 1), (2, 24), (5, 2), (24, 24), (25, 23.976), (61, 30), (100, 0.5), (240, 24), (1000, 29.97), (4999, 50), (30000, 12)]


def processor(config):
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    config = dict(config.get("video_processor", config))
    return {"Qwen2VLVideoProcessor": Qwen2VLVideoProcessor, "SmolVLMVideoProcessor": SmolVLMVideoProcessor}[config["video_processor_type"]](**config)


def main():
    from transformers.video_utils import VideoMetadata

    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "videos")
    os.makedirs(folder, exist_ok=True)
    arrays = {}

    check_against_ffmpeg(np.random.default_rng(8))
    with open(os.path.join(folder, "frames.txt"), "w") as out:
        for name, (frames, full, width, height, parameters, more) in videos(np.random.default_rng(7)).items():
            data = y4m(frames, width, height, parameters, more)
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
            colors = [rgb(planes, full or len(planes) == 1) for planes in frames]
            for i, c in enumerate(colors):
                out.write(f"{name} {i} {width} {height} {crc(c.tobytes())}\n")
    film = np.stack(colors)
    with open(os.path.join(folder, "configs.txt"), "w") as out:
        for name, config in CONFIGS.items():
            out.write(f"{name} {json.dumps(config)}\n")
    with open(os.path.join(folder, "sampling.txt"), "w") as out:
        for name, config in CONFIGS.items():
            p = processor(config)
            for total, rate in LENGTHS if p.do_sample_frames else []:
                try:
                    indices = np.asarray(p.sample_frames(VideoMetadata(total_num_frames=total, fps=rate, duration=total / rate))).astype(np.int64)
                except (ValueError, ZeroDivisionError):
                    indices = np.zeros(0, np.int64)
                middle = indices[len(indices) // 2] if len(indices) else 0
                out.write(f"{name} {total} {rate} {len(indices)} {crc(indices.tobytes())} {middle}\n")
            if "size" not in config.get("video_processor", config) and "min_pixels" not in config.get("video_processor", config):
                continue  # its default sizes make large arrays
            metadata = VideoMetadata(total_num_frames=len(film), fps=2, duration=len(film) / 2)
            made = p(film, video_metadata=metadata, return_metadata=True, return_tensors="pt")
            for key, a in made.items():
                if key == "video_metadata":
                    if name.startswith("qwen"):
                        arrays[f"{name}/second_per_grid_ts"] = np.array([p.temporal_patch_size / a[0].sampled_fps], np.float32)
                else:
                    arrays[f"{name}/{key}"] = np.ascontiguousarray(a.numpy() if hasattr(a, "numpy") else np.stack([x.numpy() for x in a]))
    save_file(arrays, os.path.join(folder, "processed.safetensors"))


if __name__ == "__main__":
    main()
