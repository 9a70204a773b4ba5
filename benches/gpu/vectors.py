"""Whether the GPU computes, and what: a text, then the vectors of many beside the CPU's."""
import json
import math
import pathlib
import re

from binary import CannotRun

from gpu import trouble
from gpu.models import BASE, MINILM, ON_CPU, ON_GPU, REFERENCE


def step(check):
    """Settles how the steps behind this one run."""
    # Exit code 1: a pack has no libtorch. What it says is in the log.
    check.runs.run(["doctor"], codes=(0, 1))
    if check.dry:
        check.way = ON_CPU
    else:
        check.way = first_that_runs(check) or ON_CPU
        check.says_nothing = check.way is ON_CPU
    name = MINILM if MINILM in check.models.names else BASE
    compare(check, name, check.asked.vectors)
    if check.on_gpu():
        verified(check, name)


def first_that_runs(check):
    """The first way in which a GPU gives a vector; whatever fails is in the table by its own words."""
    source = pathlib.Path(check.tmp, "one.csv")
    source.write_text("text\na fine little film\n")
    for way in ON_GPU:
        what, goal = f"one text, {way.name}", "a vector" if way is ON_GPU[0] else ""
        try:
            model = check.model_for(MINILM, way)
            report, _ = check.runs.embed(str(source), model, way.flags)
        except CannotRun as why:
            check.findings.add(what, goal, "", f"not met: {why}" if goal else f"fails: {why}")
            if way is ON_GPU[0]:
                trouble.explain(check)
            # Another graph needs the same device.
            if re.search("device cuda|cannot be loaded", str(why)):
                return None
            continue
        check.findings.add(what, goal, f"{report['wall']:.1f} s with all that is loaded", True if goal else "instead")
        return way
    return None


def compare(check, name, most):
    """fp32 on the CPU against what runs here, and that in micro-batches against each text alone."""
    most = min(check.rows(most), len(check.reviews.texts))
    source, limit = check.reviews.once(), ["--limit", str(most)]
    reference, _ = check.runs.vectors(source, check.models.folder(name), [*REFERENCE, *limit])
    model, flags = check.model_for(name), [*check.way.flags, *limit]
    found, _ = check.runs.vectors(source, model, flags)
    alone, _ = check.runs.vectors(source, model, [*flags, "--token-budget", "8"])
    for against, given, goal in (("fp32 on the CPU", reference, 0.999), ("each text alone", alone, 0.9999)):
        if found.keys() != given.keys():
            raise CannotRun(f"{name}: {len(found)} vectors here, {len(given)} from {against}")
        cosines = [cosine(found[key], given[key]) for key in given]
        measured = f"{min(cosines):.6f} (mean {sum(cosines) / len(cosines):.6f}) of {len(cosines)} texts"
        what = f"{name}: {check.way.name} against {against}"
        check.findings.add(what, f"worst cosine {goal}", measured, min(cosines) >= goal)


def verified(check, name):
    """The product's own answer to the same question; a ready-made graph has no precision to name."""
    command = ["verify", "--device", "cuda", "--json", "--model", check.model_for(name), "--limit", "64"]
    command += ["--texts", check.reviews.once(), "--max-length", str(check.asked.max_length)]
    # Exit code 1 says that a bound is broken, and so does the table.
    rows = json.loads(check.runs.run(command, codes=(0, 1))[0])["rows"]
    worst, holds = min(rows, key=lambda row: row["worst_cosine"]), all(row["holds"] for row in rows)
    of = f"{worst['precision']}, {worst['token_budget'] or 'alone'}"
    measured = f"{len(rows)} ways, worst {worst['worst_cosine']:.6f} ({of})"
    check.findings.add(f"{name}: `verify --device cuda`", "every bound holds", measured, holds)


def cosine(one, other):
    product = sum(a * b for a, b in zip(one, other))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
