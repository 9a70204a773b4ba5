"""A ready-made graph: one of standard operators over padded rows, as exporters write them."""
import json
import pathlib
import re
import tempfile

from gpu.models import REFERENCE, head_of
from gpu.vectors import cosine


def step(check):
    """Its vectors against the CPU's, and how much of it the GPU leaves to the CPU."""
    name = check.models.names[-1]
    source, most = check.reviews.once(), min(check.rows(512), len(check.reviews.texts))
    model, limit = folder(check, name), ["--limit", str(most)]
    flags = ["--device", "cuda"] if check.on_gpu() else REFERENCE
    given, _ = check.runs.vectors(source, check.models.folder(name), [*REFERENCE, *limit])
    found, report = check.runs.vectors(source, model, [*flags, *limit])
    worst = min(cosine(found[key], given[key]) for key in given)
    what, goal = f"{name}, ready-made: fp32 against fp32 on the CPU", "worst cosine 0.9999"
    check.findings.add(what, goal, f"{worst:.6f}", worst >= 0.9999)
    left = re.search(r"(\d+ of \d+ nodes.*?) of the ready-made graph", report["said"])
    measured = left.group(1) if left else "none" if check.on_gpu() else "all: no GPU"
    check.findings.add(f"{name}, ready-made: nodes left to the CPU", "", measured, "")
    timed, _ = check.runs.embed(check.source(), model, [*flags, "--limit", str(check.rows(20_000))])
    rate = timed["rows_out"] / timed["encoder_seconds"]
    measured = f"{rate:,.0f} reviews/s, padding {timed['padding_ratio']:.2f}"
    check.findings.add(f"{name}, ready-made: rate", "", measured, "")


def folder(check, name):
    """A model folder with what `export` writes, the vectors an output beside those of the head."""
    model = check.models.folder(name)
    out = pathlib.Path(tempfile.mkdtemp(dir=check.tmp), "model.onnx")
    head = head_of(check.runs, check.asked.heads, name, model, check.reviews.once())
    check.runs.run(["export", "--head", head, "--model", model, "--out", str(out)])
    # Protocol buffers that stand one behind the other are one message.
    with open(out, "ab") as file:
        file.write(with_output("cls", json.loads(pathlib.Path(model, "config.json").read_text())["hidden_size"]))
    return str(out.parent)


def with_output(name, width):
    """An ONNX model that has nothing but this output, of floats [rows, width]."""
    dims = message(1, message(2, b"rows")) + message(1, b"\x08" + varint(width))
    kind = message(1, b"\x08\x01" + message(2, dims))
    return message(7, message(12, message(1, name.encode()) + message(2, kind)))


def message(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def varint(number):
    head, rest = number & 0x7F, number >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])
