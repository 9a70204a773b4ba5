"""The same heads by the CPU and by the GPU, on the same features; without dropout, whose draws differ."""
import json
import pathlib
import tempfile

from binary import CannotRun

GOAL = "losses within 0.01"


def step(check):
    name = check.models.names[-1]
    if not pathlib.Path(check.asked.bertline).resolve().with_name("bertline-train").is_file():
        why = "left out: no bertline-train here (a pack made with ALL=1 has it)"
        return check.findings.add("`train` by CPU and GPU", GOAL, "", why)
    _, features = check.runs.embed(check.reviews.once(), check.model_for(name), check.way.flags, keep=True)
    for what, flags in (("article", ["--recipe", "article"]), ("three layers", ["--hidden", "512,128"])):
        try:
            compare(check, f"{name}: `train` by CPU and GPU, {what}", features, flags)
        except CannotRun as why:
            check.findings.add(f"{name}: `train`, {what}", GOAL, "", f"cannot run here: {why}")


def compare(check, what, features, flags):
    runs = []
    for device in ("cpu", "cuda" if check.on_gpu() else "cpu"):
        out = tempfile.mkdtemp(dir=check.tmp)
        check.runs.run(["train", features, *flags, "--epochs", "3", "--dropout", "0", "--device", device, "--out", out])
        runs.append(json.loads(pathlib.Path(out, "run.json").read_text())["metrics"]["epochs"])
    apart = max(abs(one["validation_loss"] - other["validation_loss"]) for one, other in zip(*runs))
    cpu, gpu = (sum(epoch["seconds"] for epoch in run[1:]) for run in runs)
    measured = f"{apart:.4f} apart, {cpu:.2f} s and {gpu:.2f} s after the first epoch"
    check.findings.add(what, GOAL, measured, check.verdict(apart <= 0.01))
