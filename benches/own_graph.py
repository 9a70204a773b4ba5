#!/usr/bin/env python3
"""Runs a graph that bertline saved, from Python and by the same library: what the encoder could do at best.

A process of its own, because onnxruntime-openvino cannot share an environment with onnxruntime, which the rivals need.
It is started by peers.py with GRAPH PRECISION THREADS BATCHES.npz VECTORS.npy, and waits for a line on standard input
before each measurement. Every measurement makes a new session and runs all batches twice: the first pass is in the state
in which a new `bertline embed` is, the second in that of rivals that have run before.
"""
import json
import sys
import time

import numpy as np
import onnxruntime as ort


def session(graph, precision, threads):
    if graph.endswith("-fused.onnx"):
        # Lowered for ONNX Runtime's own kernels.
        chosen = ort.SessionOptions()
        chosen.intra_op_num_threads, chosen.enable_mem_pattern = int(threads), False
        return ort.InferenceSession(graph, chosen, providers=["CPUExecutionProvider"])
    hint = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}[precision]
    config = {"CPU": {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}}
    options = {"device_type": "CPU", "load_config": json.dumps(config)}
    chosen = ort.SessionOptions()
    chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    made = ort.InferenceSession(graph, chosen, providers=[("OpenVINOExecutionProvider", options)])
    if made.get_providers()[0] != "OpenVINOExecutionProvider":
        raise SystemExit(f"the OpenVINO provider does not run here: {made.get_providers()}")
    return made


def main():
    graph, precision, threads, batches_file, vectors_file = sys.argv[1:]
    batches = np.load(batches_file)
    feeds = [
        ({"input_ids": batches[f"ids{at}"], "lengths": batches[f"lengths{at}"]}, batches[f"rows{at}"])
        for at in range(len(batches.files) // 3)
    ]
    texts = sum(len(rows) for _, rows in feeds)
    print("ready", flush=True)
    for _ in sys.stdin:
        made, seconds = session(graph, precision, threads), []
        for _ in range(2):
            vectors, start = None, time.perf_counter()
            for feed, rows in feeds:
                cls = made.run(["cls"], feed)[0]
                vectors = np.zeros((texts, cls.shape[-1]), np.float32) if vectors is None else vectors
                vectors[rows] = cls
            seconds.append(time.perf_counter() - start)
        del made
        np.save(vectors_file, vectors)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
