"""Where the time goes: ONNX Runtime's own profile of a session, by operator."""
import collections
import json
import math
import pathlib
import shutil

ROWS = 8192
FIGURES = ["seconds", "count", "flops", "product_seconds"]


def step(check):
    name = check.models.names[0]
    if check.gone():
        return check.findings.add(f"{name}: operators", "", "", "left out: no GPU")
    folder = pathlib.Path(check.tmp, "profile")
    flags = [*check.way.flags, "--sessions", "1", "--limit", str(check.rows(ROWS))]
    # Kernels run on after they were started; so each is waited for, and a node's time is its kernels'.
    environment = {"BERTLINE_PROFILE": str(folder), "CUDA_LAUNCH_BLOCKING": "1"}
    check.runs.embed(check.source(), check.model_for(name), flags, **environment)
    events = [event for path in sorted(folder.glob("session-*.json")) for event in json.loads(path.read_text())]
    shutil.rmtree(folder)
    found = summary(events)
    peak = check.peaks.get(name)
    check.findings.note(f"{name}: where a session's time goes, by operator", table(found, peak))
    (operator, first), *_ = found["operators"].items()
    share = 100 * first["seconds"] / found["whole"]
    measured = f"{operator} {share:.0f} % of {found['whole']:.2f} s, {found['runs']} micro-batches"
    check.findings.add(f"{name}: the dearest operator", "", measured, "")


def summary(events):
    """Seconds, number and products of each operator, dearest first, without the first micro-batch: it loads kernels."""
    runs = sorted((event for event in events if event.get("name") == "model_run"), key=lambda event: event["ts"])
    since = runs[1]["ts"] if len(runs) > 1 else 0
    runs = [event for event in runs if event["ts"] >= since]
    operators = collections.defaultdict(lambda: dict.fromkeys(FIGURES, 0))
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= since:
            operator, seconds, products = operators[event["args"]["op_name"]], event["dur"] / 1e6, flops(event["args"])
            operator["seconds"] += seconds
            operator["count"] += 1
            operator["flops"] += products
            operator["product_seconds"] += seconds if products else 0
    whole = sum(event["dur"] for event in runs) / 1e6
    ordered = dict(sorted(operators.items(), key=lambda item: -item[1]["seconds"]))
    inside = sum(operator["seconds"] for operator in ordered.values())
    besides = {**dict.fromkeys(FIGURES, 0), "seconds": max(whole - inside, 0), "count": len(runs)}
    ordered["(copies in and out, and between nodes)"] = besides
    return {"operators": ordered, "whole": whole, "runs": len(runs)}


def flops(arguments):
    """Of a product with a weight: [..., m, k] by [k, n]."""
    if arguments["op_name"] not in ("MatMul", "FusedMatMul", "Gemm"):
        return 0
    # A weight that was packed beforehand is not among the inputs, and a bias may be.
    one, *other = (list(shape.values())[0] for shape in arguments["input_type_shape"][:2])
    (out,) = arguments["output_type_shape"][0].values()
    return 0 if any(len(shape) > 2 for shape in other) else 2 * math.prod(out) * one[-1]


def table(found, peak):
    lines = ["   seconds   share  number  operator"]
    for name, operator in found["operators"].items():
        seconds, line = operator["seconds"], ""
        if operator["product_seconds"]:
            rate = operator["flops"] / operator["product_seconds"]
            line = f", {rate / 1e12:.2f} TFLOP/s"
            line += f", {100 * rate / peak:.0f} % of the product's rate" if peak else ""
        share = 100 * seconds / found["whole"] if found["whole"] else 0
        lines.append(f"{seconds:10.3f}  {share:5.1f} %  {operator['count']:6}  {name}{line}")
    return "\n".join(lines)
