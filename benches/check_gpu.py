#!/usr/bin/env python3
"""Checks the encoder on a GPU, and measures it beside what a user would take instead: one Markdown table.

Right: every vector against fp32 on the CPU, and texts alone against texts in large micro-batches. Fast: BERT-base's
geometry and MiniLM on real reviews, against Hugging Face torch with SDPA and sentence-transformers in 16 bits, as a share
of a matrix product's rate on the same card in the same run, and the whole `score` against its own encoder. Heads: the
same losses from the CPU and the GPU (with `make deps-cuda-train`). `--dry` runs
all of it without a GPU: our packed graph on the CPU's kernels, the rivals in fp32, few texts; its rates mean nothing.
`make check-gpu` runs it; the Python needs numpy and pyarrow, and what it compares with needs torch with CUDA, transformers and
sentence-transformers: what is not there is left out by name.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from systems import Binary, CannotRun, base_model, vectors_of


def say(text):
    print(text, file=sys.stderr, flush=True)


class Check:
    def __init__(self, asked, tmp):
        self.asked, self.tmp, self.lines = asked, tmp, []
        self.device = ["--provider", "packed"] if asked.dry else ["--device", "cuda"]
        self.binary = Binary(asked.bertline, 0, asked.max_length, tmp)
        files = sorted(pathlib.Path(asked.texts).rglob("*.txt"))
        random.Random(7).shuffle(files)
        texts = dict.fromkeys(file.read_text(encoding="utf-8") for file in files[: asked.limit])
        self.texts = list(texts)
        self.source = f"{tmp}/texts.jsonl"
        with open(self.source, "w", encoding="utf-8") as lines:
            for at, text in enumerate(self.texts):
                lines.write(json.dumps({"text": text, "label": "ab"[at % 2]}) + "\n")

    def add(self, what, goal, measured, met):
        say(f"  {what}: {measured}")
        self.lines.append((what, goal, measured, met if isinstance(met, str) else "met" if met else "not met"))

    def embed(self, model, flags):
        out = tempfile.mkdtemp(dir=self.tmp)
        command = ["embed", self.source, "--out", out, "--model", model, "--max-length", str(self.asked.max_length)]
        self.binary.run([*command, *flags])
        return json.loads(pathlib.Path(out, "run.json").read_text()), out

    def right(self, name, model):
        say(f"{name}: vectors")
        cpu = self.vectors(model, ["--device", "cpu", "--provider", "mlas", "--precision", "fp32"])
        half = [*self.device, "--precision", "fp16"]
        batched, alone = self.vectors(model, half), self.vectors(model, [*half, "--token-budget", "8"])
        for what, goal, one, other in (
            ("fp16 against fp32 on the CPU", 0.999, batched, cpu),
            ("fp16 alone against fp16 in micro-batches", 0.9999, alone, batched),
        ):
            cosines = (one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
            measured = f"{cosines.min():.6f} (mean {cosines.mean():.6f})"
            self.add(f"{name}: {what}", f"worst cosine {goal}", measured, cosines.min() >= goal)

    def vectors(self, model, flags):
        _, out = self.embed(model, flags)
        return vectors_of(out, len(self.texts))

    def fast(self, name, model, peak):
        say(f"{name}: rates")
        run = {}
        for rival, make in (("Hugging Face torch, SDPA", self.torch), ("sentence-transformers", self.sentences)):
            try:
                run[rival] = make(model)
            except ImportError as missing:
                self.add(f"{name}: against {rival}", "at least 1.5x", "", f"cannot run here: {missing}")
        ours, rivals = [], {rival: [] for rival in run}
        for _ in range(self.asked.rounds):
            report, _ = self.embed(model, [*self.device, "--precision", "fp16"])
            tokens = report["tokens"]
            ours.append(tokens / report["encoder_seconds"])
            for rival, encode in run.items():
                start = time.perf_counter()
                encode()
                rivals[rival].append(tokens / (time.perf_counter() - start))
        rate = statistics.median(ours)
        for rival, rates in rivals.items():
            ratio = rate / statistics.median(rates)
            self.add(f"{name}: against {rival}", "at least 1.5x", f"{ratio:.2f}x", self.verdict(ratio >= 1.5))
        if peak is None:
            say(f"  {name}: {rate:,.0f} tokens/s")
            return rate
        share = rate * self.flops(model, tokens / len(self.texts)) / peak
        measured = f"{100 * share:.0f} % at {rate:,.0f} tokens/s"
        self.add(f"{name}: real tokens, of the matrix product's rate", "at least 50 %", measured, self.verdict(share >= 0.5))
        return rate

    def verdict(self, met):
        return "dry: says nothing" if self.asked.dry else met

    def dtype(self):
        import torch

        return ("cpu", torch.float32) if self.asked.dry else ("cuda", torch.float16)

    def torch(self, model):
        import torch
        import transformers

        device, dtype = self.dtype()
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        bert = transformers.AutoModel.from_pretrained(model, attn_implementation="sdpa", dtype=dtype).to(device).eval()
        encoded = tokenizer(self.texts, truncation=True, max_length=self.asked.max_length)["input_ids"]
        encoded.sort(key=len, reverse=True)

        def encode():
            with torch.inference_mode():
                for first in range(0, len(encoded), 256):
                    batch = tokenizer.pad({"input_ids": encoded[first : first + 256]}, return_tensors="pt").to(device)
                    bert(**batch).last_hidden_state[:, 0].float().cpu()

        encode()
        return encode

    def sentences(self, model):
        import sentence_transformers

        device, dtype = self.dtype()
        encoder = sentence_transformers.SentenceTransformer(model, device=device, model_kwargs={"dtype": dtype})
        encoder.max_seq_length = self.asked.max_length
        encode = lambda: encoder.encode(self.texts, batch_size=256, show_progress_bar=False)
        encode()
        return encode

    def peak(self):
        """Multiplications and additions a second of one large product in bf16."""
        import torch

        device, dtype, size = ("cpu", torch.float32, 1024) if self.asked.dry else ("cuda", torch.bfloat16, 8192)
        one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        wait = (lambda: None) if self.asked.dry else torch.cuda.synchronize
        for rounds in (3, 20):
            wait()
            start = time.perf_counter()
            for _ in range(rounds):
                one @ other
            wait()
            seconds = (time.perf_counter() - start) / rounds
        return 2 * size**3 / seconds

    @staticmethod
    def flops(model, length):
        """Of a token in a text of this length: products with weights, and attention."""
        config = json.loads(pathlib.Path(model, "config.json").read_text())
        hidden, wide, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
        return layers * (8 * hidden**2 + 4 * hidden * wide + 4 * length * hidden)

    def whole(self, name, model, rate):
        """The wall clock of `score` from exec to exit, start and reading included."""
        say(f"{name}: score")
        _, features = self.embed(model, [*self.device, "--precision", "fp16"])
        head, scored = f"{features}-head", f"{features}-scored"
        self.binary.run(["train", features, "--epochs", "2", "--out", head])
        start = time.perf_counter()
        self.binary.run(["score", self.source, "--head", head, "--out", scored, "--model", model, *self.device])
        wall = time.perf_counter() - start
        report = json.loads(pathlib.Path(scored, "run.json").read_text())
        share = report["tokens"] / wall / rate
        what, goal = f"{name}: the whole `score`", "at least 90 % of the encoder's rate"
        self.add(what, goal, f"{100 * share:.0f} %, {len(self.texts) / wall:,.0f} reviews/s", self.verdict(share >= 0.9))
        self.heads(name, features)

    def heads(self, name, features):
        """The same heads by the CPU and by the GPU, on the same features; without dropout, whose draws differ."""
        for what, flags in (("article", ["--recipe", "article"]), ("three layers", ["--hidden", "512,128"])):
            runs = []
            try:
                for device in ("cpu", "cpu" if self.asked.dry else "cuda"):
                    out = tempfile.mkdtemp(dir=self.tmp)
                    self.binary.run(["train", features, *flags, "--epochs", "3", "--dropout", "0", "--device", device, "--out", out])
                    runs.append(json.loads(pathlib.Path(out, "run.json").read_text())["metrics"]["epochs"])
            except CannotRun as missing:
                self.add(f"{name}: `train`, {what}", "losses within 0.01", "", f"cannot run here: {missing}")
                continue
            apart = max(abs(one["validation_loss"] - other["validation_loss"]) for one, other in zip(*runs))
            cpu, gpu = (sum(epoch["seconds"] for epoch in run[1:]) for run in runs)
            measured = f"{apart:.4f} apart, {cpu:.2f} s and {gpu:.2f} s after the first epoch"
            what = f"{name}: `train` by CPU and GPU, {what}"
            self.add(what, "losses within 0.01", measured, self.verdict(apart <= 0.01))

    def run(self):
        models = {"MiniLM": self.asked.model}
        try:
            models["BERT-base, random weights"] = base_model(self.asked.model, f"{self.tmp}/bert-base-random")
            peak = self.peak()
            self.add("matrix product", "", f"{peak / 1e12:.1f} TFLOP/s", "")
        except ImportError as missing:
            peak = None
            self.add("matrix product, BERT-base", "", "", f"cannot run here: {missing}")
        for name, model in models.items():
            self.right(name, model)
            rate = self.fast(name, model, peak)
            self.whole(name, model, rate)


def card(dry):
    if dry:
        return "dry run on the CPU"
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotRun(f"no GPU: nvidia-smi says {error}; `make check-gpu DRY=1` checks what needs none") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertline", required=True, help="the binary")
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--texts", required=True, help="folder of .txt files")
    parser.add_argument("--limit", type=int, help="texts [25000; 48 with --dry]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=250)
    parser.add_argument("--dry", action="store_true", help="without a GPU")
    asked = parser.parse_args()
    asked.limit = asked.limit or (48 if asked.dry else 25000)
    try:
        title = card(asked.dry)
        with tempfile.TemporaryDirectory(prefix="bertline-gpu-") as tmp:
            check = Check(asked, tmp)
            check.run()
    except CannotRun as why:
        sys.exit(f"check-gpu: {why}")
    print(f"{title}; {len(check.texts)} reviews, max_length {asked.max_length}, medians of {asked.rounds} rounds\n")
    print("| | goal | measured | |\n|---|---|---|---|")
    for line in check.lines:
        print("| " + " | ".join(line) + " |")
    return any(met == "not met" for *_, met in check.lines)


if __name__ == "__main__":
    sys.exit(main())
