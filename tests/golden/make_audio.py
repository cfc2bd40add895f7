#!/usr/bin/env python3
"""Goldens of src/audio: sound files and their samples, resampled noise, and features by transformers' WhisperFeatureExtractor.

    python3 tests/golden/make_audio.py        needs numpy, soundfile and transformers; checks against torchaudio if it is there

Writes tests/golden/audio. The signals are made again by tests/unit/audio_fixture.h. SPDX-License-Identifier: MIT
"""
import json
import math
import os
import struct

import numpy as np
import soundfile
from transformers import WhisperFeatureExtractor

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "audio")


def path(name):
    return os.path.join(HERE, name)


# ---- signals, the same in audio_fixture.h ----

def noise(n, gain=0.5):
    """Uniform noise; a gain above 1 clips."""
    state, out = 1, np.empty(n, np.float32)
    for i in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        out[i] = min(1.0, max(-1.0, (state / 2**31 - 1) * gain))
    return out


def chirp(n):
    """From 100 Hz up, at 16 kHz."""
    t = np.arange(n) / 16000.0
    return (0.9 * np.sin(2 * math.pi * (100 * t + 130 * t * t))).astype(np.float32)


def speech(n):
    """Pulses of a falling pitch through two resonances, a syllable every quarter of a second."""
    out = np.empty(n, np.float32)
    a1 = a2 = b1 = b2 = 0.0
    wait = 0
    for i in range(n):
        pulse = 0.0
        if wait == 0:
            pulse = 0.05 if i % 4000 < 2800 else 0.0
            wait = 120 + i % 4000 // 100
        wait -= 1
        a1, a2 = pulse + 1.85 * a1 - 0.94 * a2, a1
        b1, b2 = a1 + 1.1 * b1 - 0.9 * b2, b1
        out[i] = b1 * 0.03125
    return out


SIGNALS = {"silence": lambda n: np.zeros(n, np.float32), "half": lambda n: np.full(n, 0.5, np.float32), "noise": noise,
           "clipped": lambda n: noise(n, 4.0), "chirp": chirp, "speech": speech}


def numbers(values):
    return " ".join("%.9g" % v for v in values)


# ---- files ----

def chunk(name, body, size=None):
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def fmt(code, channels, rate, bits, extra=b"", block=None):
    width = (bits + 7) // 8
    block = channels * width if block is None else block
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits) + extra)


def extensible(channels, rate, container, bits, code):
    guid = struct.pack("<H", code) + bytes([0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113])
    return fmt(0xFFFE, channels, rate, container, struct.pack("<HHI", 22, bits, 0) + guid)


def wave(*chunks, magic=b"RIFF", size=None):
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if size is None else size) + body


def integers(bits, count):
    """Full-scale ends first, then noise."""
    top = 2 ** (bits - 1)
    rest = [int(v * top) for v in noise(count, 1.0)]
    return ([-top, top - 1, 0, 1, -1] + rest)[:count]


def packed(values, bits):
    if bits == 8:
        return bytes(v + 128 for v in values)
    return b"".join(int(v).to_bytes(bits // 8, "little", signed=True) for v in values)


def write_files():
    lines = []

    def add(name, data, rate, samples, channels=1, peer=True):
        with open(path(name), "wb") as f:
            f.write(data)
        mixed = np.asarray(samples, np.float64).reshape(-1, channels).mean(axis=1).astype(np.float32)
        if peer:
            read, its_rate = soundfile.read(path(name), dtype="float64", always_2d=True)
            assert its_rate == rate and np.array_equal(read.mean(axis=1).astype(np.float32), mixed), name
        lines.append(f"{name} {rate} {len(mixed)} {numbers(mixed)}".rstrip())

    for bits in (8, 16, 24, 32):
        v = integers(bits, 21)
        add(f"pcm{bits}.wav", wave(fmt(1, 1, 16000, bits), chunk(b"data", packed(v, bits))), 16000, [x / 2 ** (bits - 1) for x in v])
    floats = list(noise(18, 3.0)) + [1e-30, -1e30, 0.1, -0.0, 1e-42, 7.0]
    add("float32.wav", wave(fmt(3, 1, 44100, 32), chunk(b"data", struct.pack("<24f", *floats))), 44100, np.float32(floats))
    add("float64_stereo.wav", wave(fmt(3, 2, 48000, 64), chunk(b"data", struct.pack("<24d", *floats))), 48000, floats, 2)
    v = integers(16, 42)
    add("extensible_6_channels.wav", wave(extensible(6, 48000, 16, 16, 1), chunk(b"data", packed(v, 16))), 48000,
        [x / 32768 for x in v], 6)
    add("extensible_float.wav", wave(extensible(2, 16000, 32, 32, 3), chunk(b"data", struct.pack("<24f", *floats))), 16000,
        np.float32(floats), 2)
    v = [x // 16 * 16 for x in integers(24, 10)]
    add("extensible_20_in_24.wav", wave(extensible(1, 96000, 24, 20, 1), chunk(b"data", packed(v, 24))), 96000, [x / 2**23 for x in v])
    v = integers(16, 9)
    pcm, samples = packed(v, 16), [x / 32768 for x in v]
    add("twelve_bits.wav", wave(fmt(1, 1, 16000, 12), chunk(b"data", pcm)), 16000, samples, peer=False)
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, len(pcm), len(v), 0))
    for magic in (b"RF64", b"BW64"):
        add(magic.decode().lower() + ".wav", wave(ds64, fmt(1, 1, 16000, 16), chunk(b"data", pcm, 2**32 - 1), chunk(b"LIST", b"abc"),
            magic=magic, size=2**32 - 1), 16000, samples, peer=magic == b"RF64")
    add("odd_chunks.wav", wave(chunk(b"JUNK", b"odd"), fmt(1, 1, 16000, 16, b"\0\0"), chunk(b"LIST", b"INFOISFT\x0f\0\0\0" + b"x" * 15), chunk(b"fact", b"\1\0\0\0"),
        chunk(b"none", b""), chunk(b"data", pcm), chunk(b"tail", b"zz")), 16000, samples)
    add("stream_31_bits.wav", wave(fmt(1, 1, 22050, 16), chunk(b"data", pcm, 0x7FFFF000), size=0x7FFFF024), 22050, samples, peer=False)
    add("stream_32_bits.wav", wave(fmt(1, 1, 22050, 16), chunk(b"data", pcm + b"z", 2**32 - 1)[:-1], size=2**32 - 1), 22050, samples, peer=False)
    add("part_of_a_block.wav", wave(fmt(1, 2, 16000, 16), chunk(b"data", pcm)), 16000, samples[:8], 2)
    add("odd_end.wav", wave(fmt(1, 1, 16000, 8), chunk(b"data", b"\x80\x00\xff"))[:-1], 16000, [0, -1, 127 / 128])
    add("slowest.wav", wave(fmt(1, 1, 1000, 16), chunk(b"data", pcm)), 1000, samples)
    add("fastest.wav", wave(fmt(1, 1, 384000, 16), chunk(b"data", pcm)), 384000, samples)
    add("empty.wav", wave(fmt(1, 1, 16000, 16), chunk(b"data", b"")), 16000, [])
    with open(path("wav.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")

    lines = []
    stereo = np.stack([speech(1600), noise(1600, 0.1)], axis=1)
    for name, kind, data in (("mono.flac", "PCM_16", stereo[:, 0]), ("stereo.flac", "PCM_24", stereo), ("stereo.ogg", "VORBIS", stereo)):
        soundfile.write(path(name), data, 16000, format=name[-4:].strip(".").upper(), subtype=kind)
        read, rate = soundfile.read(path(name), dtype="float32", always_2d=True)
        mixed = read.astype(np.float64).mean(axis=1).astype(np.float32)
        lines.append(f"{name} {rate} {len(mixed)} {numbers(mixed[::37])}")
    with open(path("sndfile.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


# ---- another rate ----

def resample(x, old, new, width=6, rolloff=0.99):
    """The definition of torchaudio.functional.resample, in float64, one output at a time."""
    base = min(old, new) * rolloff
    out = np.empty((len(x) * new + old - 1) // old)
    for m in range(len(out)):
        at = m * old / new
        first, last = max(0, math.floor(at - width * old / base)), min(len(x) - 1, math.ceil(at + width * old / base))
        t = (np.arange(first, last + 1) / old - m / new) * base
        kernel = np.where(abs(t) < width, np.sinc(t) * np.cos(t * math.pi / width / 2) ** 2, 0) * base / old
        out[m] = kernel @ x[first:last + 1].astype(np.float64) if last >= first else 0
    return out


def write_resampled():
    try:
        from torchaudio.functional import resample as peer
        import torch
    except ImportError:
        peer = None
    lines = []
    for old, new, n in ((44100, 16000, 3000), (48000, 16000, 3001), (8000, 16000, 700), (22050, 16000, 1), (16000, 11025, 2000),
                        (15999, 16000, 1500), (384000, 1000, 9000), (1000, 384000, 9), (16000, 48000, 2), (44100, 16000, 0)):
        x = noise(n)
        y = resample(x, old, new)
        if peer and n:
            its = peer(torch.from_numpy(x).double(), old, new).numpy()
            assert len(its) == len(y), (old, new, n)
            print(f"resample {old} -> {new}: {abs(its - y).max():.1e} from torchaudio")
        lines.append(f"{old} {new} {n} {len(y)} {numbers([y[i * 7919 % len(y)] for i in range(min(32, len(y)))])}".rstrip())
    with open(path("resample.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


# ---- features ----

CONFIGS = {
    "whisper.json": {},
    "whisper_large_v3.json": {"feature_size": 128},
    "awkward.json": {"feature_size": 37, "sampling_rate": 8000, "hop_length": 99, "n_fft": 254, "chunk_length": 3, "padding_value": 0.25},
    "wide.json": {"feature_size": 64, "sampling_rate": 22050, "hop_length": 441, "n_fft": 1024, "chunk_length": 5},
    "tiny.json": {"feature_size": 3, "sampling_rate": 16000, "hop_length": 7, "n_fft": 2, "chunk_length": 1},
}

CASES = [  # config, signal, samples, chunk, normalize
    ("whisper.json", "silence", 16000, 1, 0),
    ("whisper.json", "half", 1, 1, 0),
    ("whisper.json", "half", 160, 0, 0),
    ("whisper.json", "clipped", 48000, 1, 0),
    ("whisper.json", "clipped", 48000, 1, 1),
    ("whisper.json", "chirp", 480000, 1, 0),
    ("whisper.json", "chirp", 479984, 1, 0),
    ("whisper.json", "chirp", 479500, 1, 0),
    ("whisper.json", "speech", 496000, 1, 0),
    ("whisper.json", "speech", 496000, 0, 0),
    ("whisper.json", "speech", 80077, 0, 0),
    ("whisper.json", "speech", 161, 0, 0),
    ("whisper.json", "speech", 200, 0, 1),
    ("whisper_large_v3.json", "speech", 70000, 1, 0),
    ("whisper_large_v3.json", "noise", 12345, 0, 0),
    ("awkward.json", "speech", 9999, 1, 0),
    ("awkward.json", "noise", 23990, 1, 1),
    ("awkward.json", "chirp", 30000, 0, 0),
    ("wide.json", "speech", 50000, 1, 0),
    ("wide.json", "clipped", 4410, 0, 0),
    ("tiny.json", "noise", 700, 1, 0),
]


def write_features():
    extractors = {}
    for name, settings in CONFIGS.items():
        extractors[name] = WhisperFeatureExtractor(**settings)
        with open(path(name), "w") as f:
            f.write(extractors[name].to_json_string())
    with open(path("nested.json"), "w") as f:
        json.dump({"processor_class": "WhisperProcessor", "feature_extractor": extractors["awkward.json"].to_dict()}, f, indent=2)
    with open(path("bare.json"), "w") as f:
        json.dump({"feature_extractor_type": "WhisperFeatureExtractor", "do_normalize": True}, f)
    assert np.array_equal(WhisperFeatureExtractor.from_pretrained(path("bare.json"))(noise(999), sampling_rate=16000)["input_features"],
                          extractors["whisper.json"](noise(999), sampling_rate=16000)["input_features"])

    lines = []
    for config, signal, n, chunk_it, normalize in CASES:
        e = extractors[config]
        x = SIGNALS[signal](n)
        how = dict(sampling_rate=e.sampling_rate, return_attention_mask=True, do_normalize=bool(normalize))
        if not chunk_it:
            how.update(truncation=False, padding="longest")
        # The padding, mask and normalizing are __call__'s, with the float64 path in place of torch's float32.
        fast, e._torch_extract_fbank_features = e._torch_extract_fbank_features, e._np_extract_fbank_features
        out = e(x, **how)
        e._torch_extract_fbank_features = fast
        f = np.asarray(out["input_features"])[0]
        mask = np.asarray(out["attention_mask"])[0]
        assert len(mask) == f.shape[1], (config, signal, n)
        try:
            print(f"{config} {signal} {n}: torch's float32 path is {abs(e(x, **how)['input_features'][0] - f).max():.1e} away")
        except RuntimeError:  # torch mirrors no sound shorter than half a frame
            pass
        flat = f.astype(np.float64).ravel()
        at = [i * 7919 % flat.size for i in range(min(96, flat.size))]
        sums = [flat.mean(), (flat * (np.arange(flat.size) % 101)).mean()]
        lines.append(f"{config} {signal} {n} {chunk_it} {normalize} {f.shape[0]} {f.shape[1]} {mask.sum()} {numbers(sums)} {len(at)} {numbers(flat[at])}")
    with open(path("features.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    os.makedirs(HERE, exist_ok=True)
    write_files()
    write_resampled()
    write_features()
