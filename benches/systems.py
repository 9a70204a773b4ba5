"""What peers.py measures with: this machine, the vectors of an output folder, and the encoder's graph run from Python."""
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import tempfile

import numpy as np

from binary import CannotRun

RIVALS = ["torch", "transformers", "sentence-transformers", "openvino", "nncf", "onnxruntime", "tokenizers"]
FLAGS = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"]
# As encode/batch.rs packs: the tokens of a micro-batch, and the numbers of rows that it may have.
ROWS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64]
WIDTH_STEP = 8


class Machine:
    def __init__(self):
        info = pathlib.Path("/proc/cpuinfo").read_text()
        line = lambda key: next((found[1] for found in re.finditer(rf"^{key}\s*: (.*)$", info, re.M)), "")
        has = set(line("flags").split())
        self.flags = [flag for flag in FLAGS if flag in has]
        self.lacks = [flag for flag in FLAGS if flag not in has]
        self.bf16 = bool(has & {"avx512_bf16", "amx_bf16"})
        self.name, self.cores = line("model name"), len(os.sched_getaffinity(0))

    def __str__(self):
        without = f", without {', '.join(self.lacks)}" if self.lacks else ""
        return f"{self.name}, {self.cores} cores, with {', '.join(self.flags)}{without}"


def versions(ort_python):
    """The rivals' versions, and that of the library in the second environment."""
    found = [f"{name} {importlib.metadata.version(name)}" for name in RIVALS]
    code = "import importlib.metadata as m; print('onnxruntime-openvino', m.version('onnxruntime-openvino'))"
    found.append(subprocess.run([ort_python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    return ", ".join(found)


def vectors_of(out, texts):
    """The embeddings that `embed` left, in the order of the texts."""
    import pyarrow.dataset

    features = pyarrow.dataset.dataset(f"{out}/features").to_table(columns=["key", "embedding"]).to_pydict()
    by_key = dict(zip(features["key"], features["embedding"]))
    rows = pyarrow.dataset.dataset(f"{out}/rows").to_table(columns=["row", "key"]).to_pydict()
    keys = [key for _, key in sorted(zip(rows["row"], rows["key"]))]
    assert len(keys) == texts, f"{len(keys)} rows for {texts} texts"
    return np.array([by_key[key] for key in keys], np.float32)


def micro_batches(lengths, token_budget, widest):
    """(rows, width) as plan_micro_batches of encode/batch.rs cuts them."""
    width_of = lambda row: min(-(-max(lengths[row], 1) // WIDTH_STEP) * WIDTH_STEP, max(widest, lengths[row]))
    rest = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    while rest:
        width = width_of(rest[0])
        like = sum(width_of(row) * 4 >= width * 3 for row in rest)
        most = min(like, token_budget // width)
        count = most // 64 * 64 if most >= 64 else max((size for size in ROWS if size <= most), default=1)
        yield rest[:count], width
        rest = rest[count:]


class OwnGraph:
    """The saved graph in a process of its own; see own_graph.py."""

    def __init__(self, python, graph, precision, threads, work, tmp):
        arrays, ids = {}, work.ids
        # As Provider::widest of encode/numerics.rs says.
        fused = graph.endswith("-fused.onnx")
        widest = work.max_length if fused else -(-work.max_length // WIDTH_STEP) * WIDTH_STEP
        plan = micro_batches([len(one) for one in ids], 512 if fused else 2048, widest)
        for at, (rows, width) in enumerate(plan):
            block = np.zeros((len(rows), width), np.int32)
            for place, row in enumerate(rows):
                block[place, : len(ids[row])] = ids[row]
            arrays[f"ids{at}"], arrays[f"rows{at}"] = block, np.array(rows)
            arrays[f"lengths{at}"] = np.array([len(ids[row]) for row in rows], np.int32)
        folder = tempfile.mkdtemp(dir=tmp)
        self.out = f"{folder}/vectors.npy"
        np.savez(f"{folder}/batches.npz", **arrays)
        script = str(pathlib.Path(__file__).with_name("own_graph.py"))
        command = [python, script, graph, precision, str(threads), f"{folder}/batches.npz", self.out]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise CannotRun(f"own graph from Python: the process ended with exit code {self.process.wait()}")
        return line

    def run(self):
        """Seconds of the first and of the second pass of a new session, and its vectors."""
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        first, second = json.loads(self.answer())
        return first, second, np.load(self.out)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
