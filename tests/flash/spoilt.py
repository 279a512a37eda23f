"""Bundles spoilt on purpose."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from digitcam.core.bundle import SHIPPED, open_bundle
from digitcam.core.card import encode_card


def spoilt(folder: Path, change: str) -> Path:
    """Write a bundle whose float network is changed and whose golden answers are its own: it passes its selftest.

    rubbish
        All weights are 0.
    crash
        It fails on every picture that is not black.
    hungry
        It takes 600 MB.
    """
    shipped = open_bundle(SHIPPED / "canvas")
    model = onnx.load_from_string(shipped.read("model.fp32.onnx"))
    graph, golden = model.graph, shipped.golden()
    images = golden.images
    if change == "rubbish":
        for weights in graph.initializer:
            if weights.data_type == TensorProto.FLOAT:
                weights.CopyFrom(numpy_helper.from_array(0 * numpy_helper.to_array(weights), weights.name))
    else:
        # 0 for a black picture, else 1; it picks a zero that is added to an output.
        images = np.zeros_like(images[:1]) if change == "crash" else images[:1]
        values = {"zero": np.zeros(1, np.float32), "count": np.array([150_000_000], np.int64)}
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
        last = next(node for node in graph.node if "boxes" in node.output)
        last.output[list(last.output).index("boxes")] = "boxes_before"
        nodes = [
            ("Cast", [graph.input[0].name], "as_int", {"to": TensorProto.INT32}),
            ("ReduceMax", ["as_int"], "highest", {"keepdims": 0}),
            ("Cast", ["highest"], "lit", {"to": TensorProto.BOOL}),
            ("Cast", ["lit"], "index", {"to": TensorProto.INT64}),
        ]
        if change == "crash":
            nodes.append(("Gather", ["zero", "index"], "nothing", {}))
        else:
            nodes += [
                ("Mul", ["count", "index"], "shape", {}),
                ("ConstantOfShape", ["shape"], "many", {}),
                ("ReduceMax", ["many"], "nothing", {"keepdims": 0}),
            ]
        nodes.append(("Add", ["boxes_before", "nothing"], "boxes", {}))
        graph.node.extend(helper.make_node(kind, given, [out], **how) for kind, given, out, how in nodes)
    folder.mkdir()
    data = model.SerializeToString()
    (folder / "model.fp32.onnx").write_bytes(data)
    session = onnxruntime.InferenceSession(data)
    names = [output.name for output in session.get_outputs()]
    answers = [session.run(names, {graph.input[0].name: image[None]}) for image in images]
    outputs = {f"fp32.onnx/{name}": np.concatenate([answer[i] for answer in answers]) for i, name in enumerate(names)}
    np.savez_compressed(folder / "golden.npz", images=images, numbers=golden.numbers[: len(images)], **outputs)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    card = msgspec.structs.replace(shipped.card, files=hashes)
    (folder / "card.json").write_bytes(encode_card(card))
    return folder
