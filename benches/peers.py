#!/usr/bin/env python3
"""Prints how bertline compares with what a user would take instead: a Markdown table of goals, all from one run.

All systems encode the same reviews in turn, round by round, because a machine is rarely as fast in one minute as in the
next; figures are medians over the rounds, and only ratios within one run mean anything. The rivals come from
../shared/peers/peers.py. Ours is the `encoder_seconds` of a whole `bertline embed`, a new process in every round that
pays for all its first shapes, while the rivals stay loaded. `make bench-peers` runs it; each section can be picked.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from binary import Binary, CannotRun, base_model
from systems import Machine, OwnGraph, vectors_of, versions

SECTIONS = ["fp32", "bf16", "int8", "base", "tokenizing", "whole", "start", "memory", "train"]
ST, REFERENCE = "sentence-transformers fp32", "torch fp32 sorted"
NO_BF16 = "the CPU has neither AVX512-BF16 nor AMX"


def say(text):
    print(text, file=sys.stderr, flush=True)


class Table:
    """The lines of the goal table, as they come in."""

    def __init__(self):
        self.lines = []

    def add(self, what, goal, measured, met):
        self.lines.append((what, goal, measured, "met" if met else "not met"))

    def cannot(self, what, goal, why):
        """A goal that is missed because ours fails is not met; anything else cannot run here."""
        verdict = "not met" if why.startswith("bertline") else "cannot run here"
        self.lines.append((what, goal, "", f"{verdict}: {why}"))

    def print(self):
        print("| | goal | measured | |\n|---|---|---|---|")
        for line in self.lines:
            print("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |")


class Rounds:
    """Systems on one model and the same texts, run in turn."""

    def __init__(self, bench, title, model, texts):
        self.bench, self.title, self.model, self.texts = bench, title, model, texts
        self.work = bench.peers.Work(model, texts, bench.asked.max_length)
        self.folder = tempfile.mkdtemp(dir=bench.tmp)
        self.source = bench.jsonl(texts, self.folder)
        self.running, self.seconds, self.cosine, self.why, self.own = {}, {}, {}, {}, []
        say(f"{title}: {len(texts)} texts, {self.work.tokens} tokens; exporting, and the reference")
        bench.peers.export_onnx(self.work, f"{self.folder}/model.onnx")
        self.rivals = bench.peers.systems(self.work, bench.asked.threads, self.folder)
        self.reference = self.rivals[REFERENCE]()()

    def attempt(self, name, make):
        """Adds a system once; what cannot run is reported in the table, not hidden."""
        if name in self.running or name in self.why:
            return
        say(f"  making {name}")
        try:
            self.running[name] = make()
        except Exception as error:
            self.fail(name, error)

    def fail(self, name, error):
        self.why[name] = str(error) if isinstance(error, CannotRun) else f"{name}: {error!r}".replace("\n", " ")[:300]
        say(f"  {self.why[name]}")

    def add_rival(self, name):
        def make():
            encode = self.rivals[name]()

            def run():
                start = time.perf_counter()
                vectors = encode()
                return {name: time.perf_counter() - start}, vectors

            return run

        self.attempt(name, make)

    def add_ours(self, precision, own_graph=False):
        def make():
            def run():
                _, report, out = self.bench.binary.embed(self.source, self.model, precision)
                return {f"bertline {precision}": report["encoder_seconds"]}, vectors_of(out, len(self.texts))

            run()  # builds the graph, as the first run on a machine does
            return run

        def make_own():
            graph = self.bench.binary.graph(self.model, precision)
            asked = self.bench.asked
            own = OwnGraph(asked.ort_python, graph, precision, asked.threads, self.work, self.folder)
            self.own.append(own)

            def run():
                first, second, vectors = own.run()
                return {f"own graph {precision}, new session": first, f"own graph {precision}": second}, vectors

            return run

        self.attempt(f"bertline {precision}", make)
        if own_graph and f"bertline {precision}" in self.running:
            self.attempt(f"own graph {precision}", make_own)

    def run(self, rounds):
        for at in range(rounds):
            for name, run in list(self.running.items()):
                try:
                    seconds, vectors = run()
                except Exception as error:
                    del self.running[name]
                    self.seconds.pop(name, None)
                    self.fail(name, error)
                    continue
                for key, value in seconds.items():
                    self.seconds.setdefault(key, []).append(value)
                    say(f"  round {at + 1}: {key}: {len(self.texts) / value:.1f} docs/s")
                norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(self.reference, axis=1)
                cosine = (vectors * self.reference).sum(1) / norms
                self.cosine[name] = (float(cosine.min()), float(cosine.mean()))
        for own in self.own:
            own.close()

    def median(self, name):
        if not self.seconds.get(name):
            raise CannotRun(self.why.get(name, f"{name} did not run"))
        return statistics.median(self.seconds[name])

    def speed(self, table, what, precision, rival, least, aim=None):
        """One line: how many times as fast as `rival` we are."""
        goal = f"at least {least}x {rival}" + (f", aim {aim}x" if aim else "")
        try:
            ratio = self.median(rival) / self.median(f"bertline {precision}")
        except CannotRun as why:
            return table.cannot(what, goal, str(why))
        measured = f"{ratio:.2f}x"
        fresh = f"{rival}, new session"
        if fresh in self.seconds:
            measured += f" ({self.median(fresh) / self.median(f'bertline {precision}'):.2f}x of a new session)"
        table.add(what, goal, measured, ratio >= least)

    def fidelity(self, table, what, precision, worst, mean=None):
        goal = (f"mean cosine {mean}, " if mean else "") + f"worst cosine {worst}"
        found = self.cosine.get(f"bertline {precision}")
        if not found:
            return table.cannot(what, goal, self.why.get(f"bertline {precision}", "did not run"))
        measured = (f"mean {found[1]:.6f}, " if mean else "") + f"worst {found[0]:.6f}"
        table.add(what, goal, measured, found[0] >= worst and found[1] >= (mean or 0))

    def print(self):
        print(f"\n{self.title}, {len(self.texts)} reviews of {self.work.tokens // len(self.texts)} tokens:\n")
        print("| system | docs/s | tokens/s | rounds, docs/s | cosine to PyTorch fp32, worst / mean |")
        print("|---|---|---|---|---|")
        for name, seconds in sorted(self.seconds.items(), key=lambda item: statistics.median(item[1])):
            middle = statistics.median(seconds)
            rounds = ", ".join(f"{len(self.texts) / value:.1f}" for value in seconds)
            cosine = self.cosine.get(name)
            cosine = f"{cosine[0]:.6f} / {cosine[1]:.6f}" if cosine else ""
            print(f"| {name} | {len(self.texts) / middle:.1f} | {self.work.tokens / middle:.0f} | {rounds} | {cosine} |")


class Bench:
    def __init__(self, asked, peers, tmp):
        self.asked, self.peers, self.tmp = asked, peers, tmp
        self.machine, self.table, self.rounds = Machine(), Table(), []
        self.binary = Binary(asked.bertline, asked.threads, asked.max_length, tmp)
        self.precision = "bf16" if self.machine.bf16 else "fp32"

    @staticmethod
    def jsonl(texts, folder):
        path = f"{folder}/texts.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        return path

    def read(self, limit):
        return self.peers.read_texts(self.asked.texts, limit, 7)

    def minilm(self, sections):
        """fp32, bf16 and int8 share their rounds, so that each compares with the same sentence-transformers."""
        bf16, table = self.machine.bf16, self.table
        rounds = Rounds(self, "all-MiniLM-L6-v2", self.asked.model, self.read(self.asked.limit))
        rounds.add_rival(ST)
        own = "bf16" if bf16 else "fp32"
        if "fp32" in sections or not bf16 and "bf16" in sections:
            rounds.add_rival("openvino fp32")
            rounds.add_ours("fp32", own_graph=own == "fp32" and "bf16" in sections)
        if "bf16" in sections and bf16:
            rounds.add_rival("openvino bf16")
            rounds.add_ours("bf16", own_graph=True)
        if "int8" in sections:
            rounds.add_rival("openvino int8")
            rounds.add_ours("int8")
        rounds.run(self.asked.rounds)
        self.rounds.append(rounds)
        if "fp32" in sections:
            rounds.speed(table, "fp32", "fp32", ST, 1.9)
            rounds.speed(table, "fp32", "fp32", "openvino fp32", 1.15)
            rounds.fidelity(table, "fp32", "fp32", 0.99999)
        if "bf16" in sections:
            if bf16:
                rounds.speed(table, "bf16", "bf16", "openvino bf16", 1.2, 1.35)
                rounds.speed(table, "bf16", "bf16", ST, 3.8)
                rounds.fidelity(table, "bf16", "bf16", 0.9999)
            else:
                for goal in ("at least 1.2x openvino bf16, aim 1.35x", f"at least 3.8x {ST}", "worst cosine 0.9999"):
                    table.cannot("bf16", goal, NO_BF16)
            instead = "" if bf16 else " (fp32 instead: no bf16 here)"
            rounds.speed(table, f"CLS-only graph from Python{instead}", own, f"own graph {own}", 0.97)
        if "int8" in sections:
            rounds.speed(table, "int8", "int8", "openvino int8", 1.2, 1.3)
            rounds.speed(table, "int8", "int8", ST, 5)
            rounds.fidelity(table, "int8", "int8", 0.99, 0.9985)

    def base(self):
        own, bf16 = self.precision, self.machine.bf16
        model = base_model(self.asked.model, pathlib.Path(self.tmp, "bert-base-random"))
        # A quarter of the reviews: the model costs eight times as much.
        rounds = Rounds(self, "BERT-base, random weights", model, self.read(max(self.asked.limit // 4, 8)))
        rounds.add_rival(f"openvino {own}")
        rounds.add_ours(own)
        rounds.run(self.asked.rounds)
        self.rounds.append(rounds)
        if not bf16:
            self.table.cannot("BERT-base geometry, bf16", "at least 1.05x openvino bf16", NO_BF16)
            self.table.cannot("BERT-base geometry, bf16", "worst cosine 0.9999", NO_BF16)
        name = f"BERT-base geometry, {own}" + ("" if bf16 else " (instead of bf16)")
        rounds.speed(self.table, name, own, f"openvino {own}", 1.05)
        rounds.fidelity(self.table, name, own, 0.9999)

    def tokenizing(self):
        say("tokenizing")
        source, found = self.jsonl(self.read(self.asked.limit), self.tmp), f"{self.tmp}/tokenizing.json"
        script = str(pathlib.Path(__file__).with_name("check_tokenizer.py"))
        command = [sys.executable, script, "--bertline", self.asked.bertline, "--model", self.asked.model]
        command += ["--shared", str(self.asked.shared), "--texts", source, "--rounds", str(self.asked.rounds)]
        done = subprocess.run(command + ["--json", found], stdout=sys.stderr)
        if not pathlib.Path(found).exists():
            return self.table.cannot("tokenizing, one thread", "at least 4x tokenizers", f"exit code {done.returncode}")
        figures = json.loads(pathlib.Path(found).read_text())["texts"]
        rates, wrong = figures["texts_per_second"], figures["different"]
        measured = f"{figures['ratio']:.1f}x ({rates['ours']:.0f} to {rates['theirs']:.0f} texts/s)"
        self.table.add("tokenizing, one thread", "at least 4x tokenizers", measured, figures["ratio"] >= 4)
        self.table.add("token ids", "identical", f"{wrong} of {figures['texts']} texts differ", wrong == 0)

    def whole(self, sections):
        """The whole command on Parquet beside the bare encoder, which is our graph in a new session from Python."""
        import pyarrow
        import pyarrow.parquet

        precision = self.precision
        limit = self.asked.whole or (4000 if self.asked.limit >= 512 else self.asked.limit)
        # A text that stands twice is encoded once by the one and twice by the other.
        texts = list(dict.fromkeys(self.read(limit)))
        source = f"{self.tmp}/reviews.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), source)
        work = self.peers.Work(self.asked.model, texts, self.asked.max_length)
        self.binary.embed(self.jsonl(texts[:8], self.tmp), self.asked.model, precision)
        walls, bare, reports = [], [], []
        what = f"whole `embed` of {len(texts)} reviews from Parquet, {precision}"
        goal, own = "at most 1.05 of the bare encoder's seconds", None
        try:
            if "whole" in sections:
                graph = self.binary.graph(self.asked.model, precision)
                own = OwnGraph(self.asked.ort_python, graph, precision, self.asked.threads, work, self.tmp)
            for at in range(self.asked.rounds if own else 1):
                wall, report, _ = self.binary.embed(source, self.asked.model, precision)
                walls.append(wall)
                reports.append(report)
                bare += [own.run()[0]] if own else []
                inside = report["encoder_seconds"]
                say(f"  whole, round {at + 1}: {wall:.1f} s, encoder {inside:.1f} s, bare {bare[-1] if bare else 0:.1f} s")
            if own:
                ratio = statistics.median(walls) / statistics.median(bare)
                inside = statistics.median(wall / report["encoder_seconds"] for wall, report in zip(walls, reports))
                measured = f"{ratio:.3f} of our graph from Python, {inside:.3f} of its own encoder_seconds"
                self.table.add(what, goal, measured, ratio <= 1.05)
        except CannotRun as why:
            self.table.cannot(what, goal, str(why))
        finally:
            if own:
                own.close()
        if "memory" in sections and reports:
            peak = max(report["peak_rss_bytes"] for report in reports) / 2**20
            name = f"peak memory, {precision}" + ("" if self.machine.bf16 else " (instead of bf16)")
            self.table.add(name, "at most 1024 MiB", f"{peak:.0f} MiB", peak <= 1024)

    def start(self):
        """From exec to the first line of `predict`, graph and model in the cache."""
        say("start")
        features, head = f"{self.tmp}/start-features", f"{self.tmp}/start-head"
        environment = self.binary.environment(self.asked.model, "fp32")
        demo = str(pathlib.Path(__file__).parent.parent / "tests/demo/reviews.csv")
        seconds = []
        try:
            self.binary.run(["embed", demo, "--out", features, "--model", self.asked.model], environment)
            self.binary.run(["train", features, "--out", head], environment)
            command = [self.asked.bertline, "predict", "--head", head, "a fine little film"]
            for _ in range(max(self.asked.rounds, 3) + 1):
                begin = time.perf_counter()
                with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
                    answer = process.stdout.readline()
                    seconds.append(time.perf_counter() - begin)
                if not answer:
                    raise CannotRun(f"bertline predict: exit code {process.returncode}")
        except CannotRun as why:
            return self.table.cannot("start: `predict` of one text", "at most 1.5 s", str(why))
        # The first one warms the disk cache.
        middle = statistics.median(seconds[1:])
        what = "start: `predict` of one text, warm model cache"
        self.table.add(what, "at most 1.5 s", f"{middle:.2f} s", middle <= 1.5)

    def train(self):
        """The article's recipe beside its loop in PyTorch, and the default recipe, on the same features."""
        import training

        say("train: 25,000 texts of 12 words")
        features, ours, wholes, apart = f"{self.tmp}/train-features", [], [], []
        loops = {"a PyTorch loop with a DataLoader": [], "one without": []}
        labelled = training.short_texts(self.asked.texts, f"{self.tmp}/short.jsonl")
        what = "article recipe, 5 epochs of 20,000 x 384, batch 32"
        try:
            self.binary.run(["embed", labelled, "--out", features, "--model", self.asked.model])
            vectors, labels = training.features_of(features)
            for at in range(self.asked.rounds):
                for loader, seconds in enumerate(reversed(loops.values())):
                    taken, losses = training.pytorch_loop(vectors, labels, self.asked.threads, bool(loader))
                    seconds.append(taken)
                _, epochs = training.ours(self.binary, features, "article", self.tmp)
                ours.append(sum(epoch["seconds"] for epoch in epochs))
                apart.append(max(abs(epoch["validation_loss"] - loss) for epoch, loss in zip(epochs, losses)))
                wholes.append(training.ours(self.binary, features, "default", self.tmp)[0])
                taken = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in loops.items())
                say(f"  round {at + 1}: {taken}, ours {ours[-1]:.2f} s, default {wholes[-1]:.2f} s in all")
        except CannotRun as why:
            return self.table.cannot(what, "at least 3x the article's PyTorch loop", str(why))
        own, whole = (statistics.median(seconds) for seconds in (ours, wholes))
        for name, seconds in loops.items():
            loop = statistics.median(seconds)
            self.table.add(what, f"at least 3x {name}", f"{loop / own:.2f}x ({own:.2f} to {loop:.2f} s)", loop >= 3 * own)
        self.table.add(f"{what}: validation losses", "within 0.01", f"{max(apart):.4f} apart", max(apart) <= 0.01)
        whole_what = f"`train` of {len(labels)} x 384, default recipe, reading and report included"
        self.table.add(whole_what, "at most 5 s", f"{whole:.2f} s", whole <= 5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertline", required=True, help="the binary")
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--shared", required=True, type=pathlib.Path, help="folder with peers/peers.py")
    parser.add_argument("--ort-python", required=True, help="a Python with onnxruntime-openvino")
    parser.add_argument("--texts", required=True, help="folder of .txt files")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections: " + ",".join(SECTIONS))
    parser.add_argument("--limit", type=int, default=512)
    parser.add_argument("--whole", type=int, help="reviews of section `whole` [4000, or --limit where that is < 512]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-length", type=int, default=250)
    asked = parser.parse_args()
    sections = [name.strip() for name in asked.only.split(",") if name.strip()]
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    sys.path.insert(0, str(asked.shared / "peers"))
    import peers

    with tempfile.TemporaryDirectory(prefix="bertline-peers-") as tmp:
        bench = Bench(asked, peers, tmp)
        if {"fp32", "bf16", "int8"} & set(sections):
            bench.minilm(sections)
        if "base" in sections:
            bench.base()
        if "tokenizing" in sections:
            bench.tokenizing()
        if {"whole", "memory"} & set(sections):
            bench.whole(sections)
        if "start" in sections:
            bench.start()
        if "train" in sections:
            bench.train()
        print(f"{datetime.date.today()}, {bench.machine}.")
        print(f"{asked.threads} threads, medians of {asked.rounds} rounds, {asked.limit} reviews, max_length {asked.max_length}.")
        print(f"Rivals: {versions(asked.ort_python)}.\n")
        bench.table.print()
        for rounds in bench.rounds:
            rounds.print()


if __name__ == "__main__":
    sys.exit(main())
