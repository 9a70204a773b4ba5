"""What peers.py measures with: this machine, the project's own binary, and the encoder's graph run from Python."""
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

import numpy as np

RIVALS = ["torch", "transformers", "sentence-transformers", "openvino", "nncf", "onnxruntime", "tokenizers"]
FLAGS = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"]
# As encode/batch.rs packs: the tokens of a micro-batch, and the numbers of rows that it may have.
ROWS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64]
WIDTH_STEP = 8


class CannotRun(Exception):
    """Something is not to be had on this machine or in this build; the message says what."""


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


class Binary:
    """The project's binary, with a model cache of its own for each model and precision."""

    def __init__(self, path, threads, max_length, tmp):
        self.path, self.threads, self.max_length, self.tmp = path, threads, max_length, tmp

    def environment(self, model, precision):
        cache = f"{self.tmp}/cache-{pathlib.Path(model).name}-{precision}"
        return dict(os.environ, BERTLINE_CACHE=cache)

    def run(self, arguments, environment=None):
        done = subprocess.run([self.path, "--quiet", *arguments], env=environment, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise CannotRun(f"bertline {arguments[0]}: {last.removeprefix('error: ')}")
        return done.stdout

    def embed(self, source, model, precision):
        """Wall seconds of the command, its run.json, and its output folder."""
        out = tempfile.mkdtemp(dir=self.tmp)
        arguments = ["embed", source, "--out", out, "--model", model, "--precision", precision]
        arguments += ["--max-length", str(self.max_length), "--threads", str(self.threads)]
        start = time.perf_counter()
        self.run(arguments, self.environment(model, precision))
        wall = time.perf_counter() - start
        return wall, json.loads(pathlib.Path(out, "run.json").read_text()), out

    def graph(self, model, precision):
        """The graph that an `embed` before this left in the model cache."""
        folder = pathlib.Path(self.environment(model, precision)["BERTLINE_CACHE"], "graphs")
        found = sorted(folder.glob("encoder-*.onnx"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise CannotRun(f"there is no encoder-*.onnx in {folder}")
        return str(found[-1])


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


def base_model(minilm, folder):
    """A folder with BERT-base's geometry, random weights and MiniLM's tokenizer; the same weights every time."""
    import shutil

    import torch
    import transformers

    pathlib.Path(folder).mkdir(exist_ok=True)
    torch.manual_seed(7)
    transformers.BertModel(transformers.BertConfig(vocab_size=30522)).save_pretrained(folder)
    for path in pathlib.Path(minilm).iterdir():
        if path.name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            shutil.copy(path, folder)
    return str(folder)
