"""Out of memory on purpose: micro-batches too large for what is left of the card must be halved, and no row lost."""
import pathlib
import subprocess
import sys

from binary import CannotRun

from gpu.runs import kill
from gpu.trouble import cuda_folder

# What is left to the encoder: enough for its weights and a tenth of such micro-batches.
LEFT = 6 << 30
BUDGET = 1_048_576


def step(check):
    name = check.models.names[-1 if check.gone() else 0]
    if not check.on_gpu():
        report = run(check, name, [], {"BERTLINE_FAULT": "encode:rows>1"})
        return told(check, name, report, "a memory for one row")
    ballast = Ballast(check)
    try:
        report = run(check, name, ["--token-budget", str(BUDGET), "--unit-bytes", "16MiB"], {})
    finally:
        ballast.close()
    told(check, name, report, f"{BUDGET:,} tokens, {ballast.words}")


class Ballast:
    """A process that holds the card's memory."""

    def __init__(self, check):
        folder, script = cuda_folder(check.asked.bertline), pathlib.Path(__file__).with_name("ballast.py")
        command = [sys.executable, str(script), str(folder / "libcudart.so.13"), str(LEFT)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )
        self.words = self.process.stdout.readline().strip()
        if not self.words:
            raise CannotRun(f"the card's memory cannot be held: {self.process.communicate()[1].strip()[-300:]}")
        check.findings.log(f"ballast: {self.words}")

    def close(self):
        kill(self.process)
        self.process.wait()


def run(check, name, flags, environment):
    flags = [*check.way.flags, "--limit", str(check.rows(24_000)), *flags]
    return check.runs.embed(check.source(), check.model_for(name), flags, **environment)[0]


def told(check, name, report, what):
    rows, out, rejected, split = (report[key] for key in ("rows_in", "rows_out", "rows_rejected", "batches_split"))
    measured = f"{rows:,} rows in, {out:,} out, {rejected} rejected, {split} micro-batches halved"
    kept = rows == out and not rejected
    met = kept if split else "not met: the memory was not too small" if kept else False
    check.findings.add(f"{name}: out of memory ({what})", "halved, gone on, no row lost", measured, met)
