"""libmm in Python: load and run multimodal transformers on the CPU.

    import libmm

    model = libmm.open("smollm2-135m-instruct-q4_1.gguf")
    for piece in model.generate("What is the capital of France?", max_tokens=64):
        print(piece, end="", flush=True)

    encoder = libmm.open("minilm")
    vectors = encoder.embed(["A cat sleeps.", "A dog barks."])  # numpy, [2, 384], unit length

Pure ctypes: numpy arrays in and out, no compiler. A failure raises libmm.Error with the library's sentence about it.
SPDX-License-Identifier: MIT
"""
from ._audio import Audio
from ._context import Context, Error
from ._image import Image
from ._library import lib as _lib
from ._model import Info, Model, open
from ._session import Session, Stream
from ._tensor import read_safetensors, write_safetensors
from ._tokenizer import TokenDecoder, Tokenizer, TokenizerTrainer
from ._trainer import Trainer, evaluate
from ._video import Video

__version__: str = _lib.mm_build_version().decode()  # of the shared library that runs

__all__ = ["Audio", "Context", "Error", "Image", "Info", "Model", "Session", "Stream", "TokenDecoder", "Tokenizer",
           "TokenizerTrainer", "Trainer", "Video", "evaluate", "open", "read_safetensors", "write_safetensors"]
