"""The project's own binary as the benchmarks run it, and a model of BERT-base's size; the standard library is enough."""
import array
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import time


class CannotRun(Exception):
    """Something is not to be had on this machine or in this build; the message says what."""


class Binary:
    """The project's binary, with a model cache of its own for each model and precision."""

    def __init__(self, path, threads, max_length, tmp):
        self.path, self.threads, self.max_length, self.tmp = path, threads, max_length, tmp

    def environment(self, model, precision):
        cache = f"{self.tmp}/cache-{pathlib.Path(model).name}-{precision}"
        return dict(os.environ, BERTLINE_CACHE=cache)

    def run(self, arguments, environment=None, codes=(0,)):
        """What it printed; a code other than 0 that may be is one with something printed."""
        done = subprocess.run([self.path, "--quiet", *arguments], env=environment, capture_output=True, text=True)
        if done.returncode not in codes or (done.returncode and not done.stdout):
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


def base_model(minilm, folder):
    """A folder with BERT-base's geometry, random weights and MiniLM's tokenizer; the same weights every time."""
    pathlib.Path(folder).mkdir(exist_ok=True)
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30522, "hidden_size": 768,
        "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }
    pathlib.Path(folder, "config.json").write_text(json.dumps(config))
    write_weights(pathlib.Path(folder, "model.safetensors"), base_tensors(config))
    for path in pathlib.Path(minilm).iterdir():
        if path.name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            shutil.copy(path, folder)
    return str(folder)


def base_tensors(config):
    """Name and shape of each of BERT's tensors, by Hugging Face's names."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    linear = lambda name, outputs, inputs: [(f"{name}.weight", [outputs, inputs]), (f"{name}.bias", [outputs])]
    norm = lambda name: [(f"{name}.LayerNorm.weight", [hidden]), (f"{name}.LayerNorm.bias", [hidden])]
    rows = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    tensors = [(f"embeddings.{name}_embeddings.weight", [config[size], hidden]) for name, size in rows.items()]
    tensors += norm("embeddings")
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            tensors += linear(f"{name}.attention.self.{part}", hidden, hidden)
        tensors += linear(f"{name}.attention.output.dense", hidden, hidden) + norm(f"{name}.attention.output")
        tensors += linear(f"{name}.intermediate.dense", wide, hidden)
        tensors += linear(f"{name}.output.dense", hidden, wide) + norm(f"{name}.output")
    return tensors + linear("pooler.dense", hidden, hidden)


def write_weights(path, tensors):
    """As safetensors. BERT's initialisation: norms are the identity, biases zero, weights normal, 0.02 wide. The numbers
    come from one stretch of noise, each tensor from another place in it; its length is prime, so no two rows are equal."""
    drawn = random.Random(7)
    noise = array.array("f", (drawn.gauss(0, 0.02) for _ in range(1_048_583))).tobytes()
    header, end = {}, 0
    for name, shape in tensors:
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    head = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for name, shape in tensors:
            size = 4 * math.prod(shape)
            if name.endswith("LayerNorm.weight"):
                file.write(struct.pack("<f", 1) * (size // 4))
            elif name.endswith("bias"):
                file.write(bytes(size))
            else:
                place = 4 * drawn.randrange(len(noise) // 4)
                turned = noise[place:] + noise[:place]
                file.write(turned * (size // len(turned)) + turned[: size % len(turned)])
