#!/usr/bin/env python3
"""Checks the encoder on a GPU, and measures it beside what a user would take instead: one Markdown table.

Right: `verify` compares vectors with fp32 on the CPU, and texts alone with texts in large micro-batches. Fast: BERT-base's
geometry and MiniLM on real reviews, against Hugging Face torch with SDPA and sentence-transformers in 16 bits, as a share
of a matrix product's rate on the same card in the same run, and the whole `score` against its own encoder. Heads: the
same losses from the CPU and the GPU (with `make deps-cuda-train`). `--sweep` tries other sessions and token budgets than the
default. `--dry` runs all of it without a GPU: our packed graph on the CPU's kernels, the rivals in fp32, few texts; its rates
mean nothing. `make check-gpu` runs it. The standard library is enough for bertline's side; what it is compared with needs
torch with CUDA, transformers and sentence-transformers, and what is not there or fails is left out by name.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from binary import Binary, CannotRun, base_model


def say(text):
    print(text, file=sys.stderr, flush=True)


BASE = "BERT-base, random weights"


class Check:
    def __init__(self, asked, tmp):
        self.asked, self.tmp, self.lines = asked, tmp, []
        self.device = ["--provider", "packed"] if asked.dry else ["--device", "cuda"]
        self.binary = Binary(asked.bertline, 0, asked.max_length, tmp)
        files = sorted(pathlib.Path(asked.texts).rglob("*.txt"))
        random.Random(7).shuffle(files)
        texts = dict.fromkeys(file.read_text(encoding="utf-8") for file in files[: asked.limit])
        self.texts = list(texts)
        self.once = self.write("once", 1, len(self.texts))
        # What a GPU has done before its kernels are loaded says nothing: as many rows as a large dataset.
        copies = -(-asked.rows // len(self.texts))
        self.many, self.rows = self.write("many", copies, len(self.texts)), copies * len(self.texts)
        # fp32 on the CPU takes minutes for a few thousand texts of BERT-base.
        self.compared = min(asked.vectors, len(self.texts))
        self.few = self.write("few", 1, self.compared)

    def write(self, name, copies, count):
        """A folder of Parquet with the first texts; each copy has texts of its own, since equal ones are encoded once."""
        lines = f"{self.tmp}/{name}.jsonl"
        with open(lines, "w", encoding="utf-8") as file:
            for copy in range(copies):
                for at, text in enumerate(self.texts[:count]):
                    file.write(json.dumps({"text": f"{copy} {text}" if copy else text, "label": "ab"[at % 2]}) + "\n")
        self.binary.run(["ingest", lines, "--out", f"{self.tmp}/{name}"])
        pathlib.Path(lines).unlink()
        return f"{self.tmp}/{name}"

    def add(self, what, goal, measured, met):
        say(f"  {what}: {measured}")
        self.lines.append((what, goal, measured, met if isinstance(met, str) else "met" if met else "not met"))

    def embed(self, model, flags, source):
        out = tempfile.mkdtemp(dir=self.tmp)
        command = ["embed", source, "--out", out, "--model", model, "--max-length", str(self.asked.max_length)]
        self.binary.run([*command, *flags])
        return json.loads(pathlib.Path(out, "run.json").read_text()), out

    def timed(self, model, flags):
        """The report of a run over all rows, whose vectors take up to a gigabyte and are not needed."""
        report, out = self.embed(model, [*self.device, "--precision", "fp16", *flags], self.many)
        shutil.rmtree(out)
        return report

    def right(self, name, model):
        say(f"{name}: vectors")
        command = ["verify", "--model", model, "--max-length", str(self.asked.max_length), "--precision", "fp16", "--json"]
        command += ["--texts", self.few, "--limit", str(self.compared), "--device", "cpu" if self.asked.dry else "cuda"]
        # Exit code 1 says that a bound is broken, and so does the table.
        rows = json.loads(self.binary.run(command, codes=(0, 1)))["rows"]
        worst, mean = (min(row[key] for row in rows) for key in ("worst_cosine", "mean_cosine"))
        measured = f"{worst:.6f} (mean {mean:.6f})"
        self.add(f"{name}: fp16 against fp32 on the CPU", "worst cosine 0.999", measured, worst >= 0.999)
        to_alone = min(row["worst_cosine_to_alone"] for row in rows if row["token_budget"])
        what, goal = f"{name}: fp16 in micro-batches against fp16 alone", "worst cosine 0.9999"
        self.add(what, goal, f"{to_alone:.6f}", to_alone >= 0.9999)

    def fast(self, name, model, peak):
        say(f"{name}: rates")
        run = {}
        for rival, make in (("Hugging Face torch, SDPA", self.torch), ("sentence-transformers", self.sentences)):
            try:
                run[rival] = make(model)
            except Exception as why:  # whatever a rival's installation throws, the rest of the table is worth having
                self.add(f"{name}: against {rival}", "at least 1.5x", "", f"cannot run here: {reason(why)}")
        ours, rivals = [], {rival: [] for rival in run}
        for _ in range(self.asked.rounds):
            report = self.timed(model, [])
            length = report["tokens"] / report["rows_out"]
            ours.append(report["rows_out"] / report["encoder_seconds"])
            for rival, encode in list(run.items()):
                start = time.perf_counter()
                try:
                    encode()
                except Exception as why:
                    self.add(f"{name}: against {rival}", "at least 1.5x", "", f"failed: {reason(why)}")
                    del run[rival], rivals[rival]
                    continue
                rivals[rival].append(len(self.texts) / (time.perf_counter() - start))
        rate = statistics.median(ours)
        for rival, rates in rivals.items():
            ratio = rate / statistics.median(rates)
            self.add(f"{name}: against {rival}", "at least 1.5x", f"{ratio:.2f}x", self.verdict(ratio >= 1.5))
        if peak is None:
            say(f"  {name}: {rate:,.0f} reviews/s")
            return rate
        share = rate * length * self.flops(model, length) / peak
        measured = f"{100 * share:.0f} % at {rate:,.0f} reviews/s of {length:.0f} tokens; limit: {report['limiting_stage']}"
        # MiniLM's products are too narrow for it: reading and writing its activations takes longer.
        goal, met = ("at least 50 %", self.verdict(share >= 0.5)) if name == BASE else ("", "")
        self.add(f"{name}: real tokens, of the matrix product's rate", goal, measured, met)
        return rate

    def sweep(self, name, model):
        """Whether the default is a good one."""
        say(f"{name}: sessions and token budgets")
        sessions, budgets = ((1,), (256, 512)) if self.asked.dry else ((1, 2, 3), (16_384, 32_768, 65_536, 131_072))
        rates = {}
        for count in sessions:
            for budget in budgets:
                try:
                    report = self.timed(model, ["--sessions", str(count), "--token-budget", str(budget)])
                except CannotRun as why:
                    say(f"  {count} x {budget}: {why}")
                    continue
                rates[count, budget] = report["rows_out"] / report["encoder_seconds"]
                say(f"  {count} x {budget}: {rates[count, budget]:,.0f} reviews/s")
        if not rates:
            return self.add(f"{name}: the default plan", "at least 95 % of the best", "", "cannot run here")
        best = max(rates, key=rates.get)
        share = rates.get((2, 65_536), rates[best]) / rates[best]
        measured = f"{100 * share:.0f} % of {best[0]} x {best[1]}"
        self.add(f"{name}: the default plan", "at least 95 % of the best", measured, self.verdict(share >= 0.95))

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
        _, features = self.embed(model, [*self.device, "--precision", "fp16"], self.once)
        head, scored = f"{features}-head", f"{features}-scored"
        self.binary.run(["train", features, "--epochs", "2", "--out", head])
        start = time.perf_counter()
        self.binary.run(["score", self.many, "--head", head, "--out", scored, "--model", model, *self.device])
        wall = time.perf_counter() - start
        report = json.loads(pathlib.Path(scored, "run.json").read_text())
        reviews = report["rows_out"] / wall
        what, goal = f"{name}: the whole `score`", "at least 90 % of the encoder's rate"
        measured = f"{100 * reviews / rate:.0f} %, {reviews:,.0f} reviews/s; limit: {report['limiting_stage']}"
        self.add(what, goal, measured, self.verdict(reviews >= 0.9 * rate))
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

    def table(self, title):
        rows = f"{len(self.texts)} reviews, as {self.rows} rows where bertline is timed"
        print(f"{title}; {rows}, max_length {self.asked.max_length}, medians of {self.asked.rounds} rounds\n")
        print("| | goal | measured | |\n|---|---|---|---|")
        for line in self.lines:
            print("| " + " | ".join(line) + " |")

    def run(self):
        models = {"MiniLM": self.asked.model}
        if self.asked.only != "MiniLM":
            models[BASE] = base_model(self.asked.model, f"{self.tmp}/bert-base-random")
        peak = None
        try:
            peak = self.peak()
            self.add("matrix product", "", f"{peak / 1e12:.1f} TFLOP/s", "")
        except Exception as why:
            self.add("matrix product", "", "", f"cannot run here: {reason(why)}")
        for name, model in models.items():
            if self.asked.only in (None, name.split(",")[0]):
                self.right(name, model)
                rate = self.fast(name, model, peak)
                self.whole(name, model, rate)
                if self.asked.sweep:
                    self.sweep(name, model)


def reason(why):
    return f"{type(why).__name__}: {(str(why).splitlines() or [''])[0][:120]}"


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
    parser.add_argument("--rows", type=int, help="rows at least of the dataset that is timed [250000; 48 with --dry]")
    parser.add_argument("--vectors", type=int, default=2000, help="of them whose vectors are compared with the CPU's")
    parser.add_argument("--only", choices=("MiniLM", "BERT-base"), help="one model, where time is short")
    parser.add_argument("--sweep", action="store_true", help="try other plans than the default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=250)
    parser.add_argument("--dry", action="store_true", help="without a GPU")
    asked = parser.parse_args()
    asked.limit = asked.limit or (48 if asked.dry else 25000)
    asked.rows = asked.rows or (48 if asked.dry else 250_000)
    failed = None
    # Built graphs, half a gigabyte of BERT-base, are not to stay in the user's cache.
    with tempfile.TemporaryDirectory(prefix="bertline-gpu-") as tmp:
        check = None
        try:
            title = card(asked.dry)
            os.environ["BERTLINE_CACHE"] = f"{tmp}/cache"
            check = Check(asked, tmp)
            check.run()
        except CannotRun as why:
            failed = f"check-gpu: {why}"
        finally:
            # What was measured before a failure, or before time was up, took minutes.
            if check and check.lines:
                check.table(title)
    return failed or any(met == "not met" for *_, met in check.lines)


if __name__ == "__main__":
    # So that `timeout` leaves the table, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("check-gpu: told to stop"))
    sys.exit(main())
