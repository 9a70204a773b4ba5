#!/usr/bin/env python3
"""Checks the encoder on a GPU, and measures it beside what a user would take instead, the most telling first.

Steps: (a) the libraries load, and vectors are the CPU's; (b) BERT-base's geometry on real reviews beside Hugging Face
torch with SDPA and sentence-transformers in 16 bits, and as a share of a matrix product's rate on the same card in the
same run; (c) MiniLM the same; (d) the whole `score`; (e) other plans; (f) where the time goes by operator; (g) out of
memory; (h) a ready-made graph; (i) heads by the CPU and the GPU. The table and the log are on disk after every line. A
step that fails leaves the others to run; the exit code is 1 where one did, or a goal is not met. `--dry` runs all of it
without a GPU: our packed graph on the CPU's kernels, the rivals in fp32, few texts; its rates mean nothing.
`make check-gpu` runs it.
"""
import argparse
import os
import signal
import sys
import tempfile
import traceback

from binary import CannotRun
from gpu import card, memory, operators, plans, rates, ready, training, trouble, vectors, whole
from gpu.clock import Clock
from gpu.findings import Findings
from gpu.models import BASE, MINILM, ON_CPU, ON_GPU, Models
from gpu.reviews import Reviews
from gpu.rivals import Rivals
from gpu.runs import Runs

# What is asked, and the seconds of it where there are 8 minutes.
STEPS = {
    "a": ("the libraries load, and what comes out", 50, vectors.step),
    "b": ("BERT-base's geometry, beside rivals", 145, lambda check: rates.step(check, BASE)),
    "c": ("MiniLM, beside rivals", 75, lambda check: rates.step(check, MINILM)),
    "d": ("the whole `score`", 40, whole.step),
    "e": ("other plans", 55, plans.step),
    "f": ("where the time goes", 20, operators.step),
    "g": ("out of memory on purpose", 25, memory.step),
    "h": ("a ready-made graph", 30, ready.step),
    "i": ("heads by the CPU and the GPU", 10, training.step),
}


class Check:
    """What the steps share, and what they leave to the ones behind them."""

    def __init__(self, asked, tmp):
        self.asked, self.tmp, self.dry = asked, tmp, asked.dry
        # Whether rates are those of a few texts on a CPU.
        self.says_nothing = asked.dry
        self.clock = Clock(asked.seconds, {step: STEPS[step][1] for step in asked.steps})
        self.findings = Findings(asked.out, "")
        self.runs = Runs(os.path.abspath(asked.bertline), asked.max_length, tmp, self.findings.log, self.clock)
        title = "dry run on the CPU" if self.dry else card.name(self)
        self.findings.log(trouble.versions())
        self.reviews = Reviews(asked.texts, asked.limit, asked.rows, self.runs)
        self.models, self.rivals = Models(asked, tmp), Rivals(self)
        given = f"{len(self.reviews.texts)} reviews, as up to {self.reviews.rows} rows where bertline is timed"
        self.findings.title = f"{title}; {given}, max_length {asked.max_length}, medians of {asked.rounds} rounds"
        self.way, self.rates, self.peaks, self.ready, self.failed = ON_CPU if self.dry else ON_GPU[0], {}, {}, {}, {}

    def on_gpu(self):
        return self.way is not ON_CPU

    def gone(self):
        """Whether a GPU was wanted, and there is none."""
        return not self.dry and not self.on_gpu()

    def source(self):
        return self.reviews.once() if self.says_nothing else self.reviews.many()

    def rows(self, wanted):
        """So many where a GPU computes; on a CPU few, since a text takes a second of BERT-base there."""
        return min(wanted, 16 if self.gone() else self.reviews.rows)

    def model_for(self, name, way=None):
        """The model's folder; where only the padded graph runs, one that has it."""
        if not (way or self.way).ready:
            return self.models.folder(name)
        if name not in self.ready:
            self.ready[name] = ready.folder(self, name)
        return self.ready[name]

    def verdict(self, met):
        return "dry: says nothing" if self.dry else "no GPU: says nothing" if self.says_nothing else met

    def step(self, step):
        title, _, run = STEPS[step]
        self.findings.step = step
        seconds = self.clock.begin(step)
        self.findings.say(f"({step}) {title}" + (f": {seconds:.0f} s at most" if self.asked.seconds else ""))
        if seconds < 1:
            return self.findings.add(title, "", "", "failed: no time was left")
        try:
            run(self)
        except Exception as why:  # a step that this check gets wrong leaves the others to run, too
            known = isinstance(why, CannotRun)
            self.findings.log("" if known else traceback.format_exc())
            self.findings.add(title, "", "", f"failed: {why}" if known else f"failed: {type(why).__name__}: {why}")
            if not self.dry:
                trouble.attempt(self, ["nvidia-smi"])


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertline", required=True, help="the binary")
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--texts", required=True, help="folder of .txt files")
    parser.add_argument("--heads", help="folder of heads by model; else they are trained")
    parser.add_argument("--out", default=".", help="folder of gpu-check.md and gpu-check.log")
    parser.add_argument("--seconds", type=int, default=0, help="for all steps; those at the end go without [no limit]")
    parser.add_argument("--steps", help="of " + "".join(STEPS) + ", such as bf [all]")
    parser.add_argument("--limit", type=int, help="texts [4000; 16 with --dry]")
    parser.add_argument("--rows", type=int, help="rows of the dataset that is timed [250000; the texts with --dry]")
    parser.add_argument("--vectors", type=int, default=2000, help="texts whose vectors are compared with the CPU's")
    parser.add_argument("--only", choices=(MINILM, BASE), help="one model, where time is short")
    parser.add_argument("--sweep", action="store_true", help="other plans of both models")
    parser.add_argument("--rounds", type=int, help="of measurements in turn [3; 1 with --dry]")
    parser.add_argument("--max-length", type=int, default=250)
    parser.add_argument("--dry", action="store_true", help="without a GPU")
    asked = parser.parse_args()
    asked.limit = asked.limit or (16 if asked.dry else 4000)
    asked.rows = asked.rows or (1 if asked.dry else 250_000)
    asked.rounds = asked.rounds or (1 if asked.dry else 3)
    wanted = asked.steps or "".join(STEPS)
    if not set(wanted) <= set(STEPS):
        parser.error(f"--steps takes letters of {''.join(STEPS)}, not `{wanted}`")
    left_out = {MINILM: "b", BASE: "c"}.get(asked.only, "")
    # The first one settles how the others run.
    asked.steps = [step for step in STEPS if step in wanted + "a" and step not in left_out]
    return asked


def main():
    asked = parsed()
    # Built graphs, half a gigabyte of BERT-base, are not to stay in the user's cache.
    with tempfile.TemporaryDirectory(prefix="bertline-gpu-") as tmp:
        os.environ["BERTLINE_CACHE"] = f"{tmp}/cache"
        check = Check(asked, tmp)
        try:
            for step in asked.steps:
                check.step(step)
        finally:
            check.rivals.close()
            check.findings.write()
            print(check.findings.text())
            check.findings.say(f"{check.clock.spent():.0f} s; the table and the log: {check.findings.path}, .log")
    return int(check.findings.bad())


if __name__ == "__main__":
    # So that `timeout` leaves the table, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("check-gpu: told to stop"))
    sys.exit(main())
