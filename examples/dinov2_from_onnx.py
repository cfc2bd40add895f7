#!/usr/bin/env python3
"""Take a DINOv2 backbone out of an ONNX file: a Hugging Face directory that libmm and transformers open.

    python3 examples/dinov2_from_onnx.py MODEL.onnx OUT_DIR

Needs numpy and nothing else: ONNX files are protobuf messages, of which the few fields that matter are read here
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). The file must be PyTorch's export of a model with a transformers
Dinov2Model named `backbone` inside. Its initializers keep their names there, but

  - the weight of a linear layer is an anonymous matrix [in, out]; the name of the MatMul node that takes it says which it is
  - the position embedding is cut into the part of the class token and the part of the patches

OUT_DIR gets config.json, model.safetensors and preprocessor_config.json. SPDX-License-Identifier: MIT
"""
import json
import math
import os
import re
import struct
import sys

import numpy as np

# Field numbers of onnx.proto.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_ATTRIBUTE = 1, 2, 3, 4, 5
ATTRIBUTE_TENSOR = 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INT64S, TENSOR_NAME, TENSOR_RAW, TENSOR_LOCATION = 1, 2, 4, 7, 8, 9, 14
TYPES = {1: np.dtype("<f4"), 7: np.dtype("<i8")}

PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor", "do_convert_rgb": True,
    "do_resize": True, "size": {"shortest_edge": 256}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
    "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the file ends inside a number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The fields of a message: (number, value), the value being an int, or the bytes of what has a length."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
        else:
            if wire == 2:
                size, at = varint(data, at)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise ValueError(f"a field of the unknown kind {wire}")
            if size > len(data) - at:
                raise ValueError("the file ends inside a field")
            value = data[at:at + size]
            at += size
        yield key >> 3, value


def text(value):
    return bytes(value).decode("utf-8")


def tensor(data):
    """(name, array) of a TensorProto."""
    dims, kind, raw, name = [], 0, b"", ""
    elsewhere = False  # the elements are not in raw_data: PyTorch's exporter puts them nowhere else
    for number, value in fields(data):
        if number == TENSOR_DIMS:
            if isinstance(value, int):
                dims.append(value)
            else:  # packed
                at = 0
                while at < len(value):
                    d, at = varint(value, at)
                    dims.append(d)
        elif number == TENSOR_TYPE:
            kind = value
        elif number in (TENSOR_FLOATS, TENSOR_INT64S):
            elsewhere = True
        elif number == TENSOR_NAME:
            name = text(value)
        elif number == TENSOR_RAW:
            raw = value
        elif number == TENSOR_LOCATION:
            elsewhere = value != 0
    if elsewhere or kind not in TYPES:
        return name, None
    if math.prod(dims) * TYPES[kind].itemsize != len(raw):
        raise ValueError(f"tensor {name} has {len(raw)} bytes, which are not those of {dims}")
    return name, np.frombuffer(raw, TYPES[kind]).reshape(dims)


class Graph:
    """Initializers, constants and nodes of a model by name."""

    def __init__(self, data):
        self.weights, self.constants, self.nodes = {}, {}, {}
        graphs = [v for number, v in fields(data) if number == MODEL_GRAPH]
        if len(graphs) != 1 or isinstance(graphs[0], int):
            raise ValueError("no ONNX model")
        for number, value in fields(graphs[0]):
            if number == GRAPH_INITIALIZER:
                name, array = tensor(value)
                self.weights[name] = array
            elif number == GRAPH_NODE:
                self.add_node(value)

    def add_node(self, data):
        inputs, outputs, name, kind, constant = [], [], "", "", None
        for number, value in fields(data):
            if number == NODE_INPUT:
                inputs.append(text(value))
            elif number == NODE_OUTPUT:
                outputs.append(text(value))
            elif number == NODE_NAME:
                name = text(value)
            elif number == NODE_TYPE:
                kind = text(value)
            elif number == NODE_ATTRIBUTE:
                for inner, v in fields(value):
                    if inner == ATTRIBUTE_TENSOR:
                        constant = tensor(v)[1]
        if kind == "Constant":
            self.constants[outputs[0]] = constant
        else:
            self.nodes[name] = (kind, inputs)

    def constants_of(self, name):
        """The constants among the inputs of a node."""
        if name not in self.nodes:
            raise ValueError(f"the graph has no node {name}")
        return [self.constants[i] for i in self.nodes[name][1] if self.constants.get(i) is not None]


def backbone(graph):
    """(weights under transformers' names, config.json) of the graph's Dinov2Model."""
    w = {name[len("backbone."):]: a for name, a in graph.weights.items() if name.startswith("backbone.")}
    if "embeddings.cls_token" not in w:
        raise ValueError("the graph has no Dinov2Model named backbone")
    for name, (kind, inputs) in graph.nodes.items():
        m = re.fullmatch(r"/backbone/(encoder/layer\.\d+/.*)/MatMul", name)
        if kind == "MatMul" and m and inputs[1] in graph.weights:
            w[m.group(1).replace("/", ".") + ".weight"] = graph.weights[inputs[1]].T
    dim = w["embeddings.cls_token"].shape[-1]
    parts = [a for name, a in graph.weights.items() if name.startswith("onnx::") and a is not None and a.ndim == 3 and a.shape[2] == dim]
    of_class = [a for a in parts if a.shape[1] == 1]
    of_patches = [a for a in parts if a.shape[1] > 1]
    if len(of_class) != 1 or len(of_patches) != 1:
        raise ValueError("the position embedding was not found")
    w["embeddings.position_embeddings"] = np.concatenate([of_class[0], of_patches[0]], axis=1)
    w["embeddings.mask_token"] = np.zeros((1, dim), np.float32)  # of pre-training; not in the graph and not used
    missing = [name for name, a in w.items() if a is None]
    if missing:
        raise ValueError(f"{missing[0]} is stored in a way that is not read here")

    # The numbers that are in no shape: heads and their size stand in the shape that the keys get, the epsilon beside the variance.
    heads, head_dim = (int(c.reshape(-1)[0]) for c in graph.constants_of("/backbone/encoder/layer.0/attention/attention/Concat"))
    (eps,) = graph.constants_of("/backbone/encoder/layer.0/norm1/Add")
    if heads * head_dim != dim:
        raise ValueError(f"{heads} heads of {head_dim} do not make {dim}")
    patch = w["embeddings.patch_embeddings.projection.weight"].shape[-1]
    side = math.isqrt(of_patches[0].shape[1])
    layers = 1 + max(int(m.group(1)) for m in (re.match(r"encoder\.layer\.(\d+)\.", name) for name in w) if m)
    return w, {
        "architectures": ["Dinov2Model"], "model_type": "dinov2",
        "hidden_size": dim, "num_hidden_layers": layers, "num_attention_heads": heads,
        "mlp_ratio": w["encoder.layer.0.mlp.fc1.bias"].shape[0] // dim, "hidden_act": "gelu",
        "layer_norm_eps": float(f"{float(eps):.0e}"), "image_size": side * patch, "patch_size": patch,
        "num_channels": w["embeddings.patch_embeddings.projection.weight"].shape[1],
        "qkv_bias": True, "layerscale_value": 1.0, "use_swiglu_ffn": False,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "drop_path_rate": 0.0, "torch_dtype": "float32",
    }


def write_safetensors(path, arrays):
    """8 bytes of length, a JSON header, the elements (https://github.com/huggingface/safetensors)."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [at, at + a.size * 4]}
        at += a.size * 4
    data = json.dumps(header).encode()
    data += b" " * (-len(data) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(data)) + data)
        for a in arrays.values():
            f.write(np.ascontiguousarray(a, "<f4").tobytes())


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def main(path, out):
    with open(path, "rb") as f:
        weights, config = backbone(Graph(memoryview(f.read())))
    weights = dict(sorted(weights.items()))
    os.makedirs(out, exist_ok=True)
    write_safetensors(os.path.join(out, "model.safetensors"), weights)
    write_json(os.path.join(out, "config.json"), config)
    write_json(os.path.join(out, "preprocessor_config.json"), PREPROCESSOR)
    print(f"{out}: {len(weights)} tensors, {sum(a.size for a in weights.values())} parameters, {config['num_hidden_layers']} layers")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError) as e:
        sys.exit(f"dinov2_from_onnx: {sys.argv[1]}: {e}")
