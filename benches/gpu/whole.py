"""The whole `score` of a Parquet dataset, from exec to exit, beside the bare encoder."""
import json
import pathlib
import shutil
import tempfile

from binary import CannotRun

from gpu.models import head_of


def step(check):
    # A text takes a second of BERT-base on a CPU.
    for name in check.models.names[-1:] if check.gone() else check.models.names:
        try:
            score(check, name)
        except CannotRun as why:
            check.findings.add(f"{name}: the whole `score`", "", "", f"failed: {why}")


def score(check, name):
    source, model = check.source(), check.model_for(name)
    head = head_of(check.runs, check.asked.heads, name, check.models.folder(name), check.reviews.once())
    if check.way.ready:
        raise CannotRun("a head is of the encoder that bertline builds, and that one does not run here")
    rate = check.rates.get(name)
    # As long as the encoder's own measurement, and no longer than there is time for.
    rows = check.rows(int(rate * 12) if rate else 16_384)
    out = tempfile.mkdtemp(dir=check.tmp)
    command = ["score", source, "--head", head, "--out", out, "--model", model, "--limit", str(rows), *check.way.flags]
    _, _, wall = check.runs.run(command)
    report = json.loads(pathlib.Path(out, "run.json").read_text())
    shutil.rmtree(out)
    reviews = report["rows_out"] / wall
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in sorted(report["stage_seconds"].items()))
    measured = f"{report['rows_out']:,} rows in {wall:.1f} s, {reviews:,.0f} a second"
    measured += f"; limit: {report['limiting_stage']} (seconds: {stages})"
    goal = "at least 90 % of the encoder's rate" if rate else ""
    met = check.verdict(reviews >= 0.9 * rate) if rate else ""
    share = f"{100 * reviews / rate:.0f} %: " if rate else ""
    check.findings.add(f"{name}: the whole `score`", goal, share + measured, met)
