"""How fast: ours, what a user would take instead, and the card's own matrix product, in turn."""
import statistics

from binary import CannotRun

from gpu.card import Watch
from gpu.models import BASE
from gpu.runs import OutOfTime
from gpu.vectors import compare

# Seconds of encoding that make a measurement, in a process that has its kernels to load.
SECONDS = 8


def step(check, name):
    """The lines of one model; the rate is kept for the steps behind."""
    loaded, check.failed = load(check, name), {}
    rows = None if check.gone() else enough(check, name)
    figures, report, busy = {what: [] for what in ("product", "bertline", *loaded)}, None, ""
    try:
        for _ in range(check.asked.rounds):
            measure(check, figures, "product", check.rivals.product)
            if rows:
                watch = Watch()
                try:
                    report = ours(check, name, rows)
                finally:
                    busy = watch.stop()
                figures["bertline"].append(report["rows_out"] / report["encoder_seconds"])
            for rival in loaded:
                measure(check, figures, rival, lambda: check.rivals.rate(rival))
    except OutOfTime as late:
        check.findings.say(f"  {late}; what the rounds before it gave counts")
    tell(check, name, report, figures, busy)
    try:
        check.rivals.drop()
    except CannotRun as why:
        check.findings.log(str(why))
    # MiniLM's have been looked at before; rates of wrong vectors would say nothing.
    if name == BASE and not check.gone():
        compare(check, name, 128)


def enough(check, name):
    """The rows that a measurement needs. The run that tells it builds the graph, too."""
    few = check.rows(16_384)
    probe = ours(check, name, few)
    return check.rows(max(few, int(probe["rows_out"] / probe["encoder_seconds"] * SECONDS)))


def ours(check, name, rows):
    return check.runs.embed(check.source(), check.model_for(name), [*check.way.flags, "--limit", str(rows)])[0]


def load(check, name):
    """The rivals that run here; the others are left out by name, on one line for each reason."""
    loaded, reasons = [], {}
    for rival in check.rivals.names:
        try:
            check.rivals.load(rival, check.models.folder(name))
            loaded.append(rival)
        except CannotRun as why:
            reasons.setdefault(str(why), []).append(rival)
    for why, rivals in reasons.items():
        check.findings.add(f"{name}: {', '.join(rivals)}", "", "", f"cannot run here: {why}")
    return loaded


def measure(check, figures, what, take):
    """One that fails keeps the rounds that it had, and has no more of them."""
    if what in check.failed:
        return
    try:
        figures[what].append(take())
    except OutOfTime:
        raise
    except CannotRun as why:
        check.failed[what] = str(why)
        check.findings.say(f"  {what}: {why}")


def tell(check, name, report, figures, busy):
    """Rates, the share of the product's, and how much faster than the best rival."""
    medians = {what: statistics.median(found) for what, found in figures.items() if found}
    rate, peak = medians.pop("bertline", None), medians.pop("product", None)
    if rate:
        check.rates[name], length = rate, report["tokens"] / report["rows_out"]
        rounds = ", ".join(f"{found:,.0f}" for found in figures["bertline"])
        measured = f"{rate:,.0f} reviews/s ({rounds}) of {length:.0f} tokens, {rate * length:,.0f} tokens/s"
        measured += f"; limit: {report['limiting_stage']}" + (f"; {busy}" if busy else "")
        check.findings.add(f"{name}: bertline, {check.way.name}", "", measured, "")
    else:
        why = "left out: no GPU for it" if check.gone() else "failed: no round came to its end"
        check.findings.add(f"{name}: bertline", "", "", why)
    for rival, found in medians.items():
        check.findings.add(f"{name}: {rival}", "", f"{found:,.0f} reviews/s", "")
    if peak is None:
        why = check.failed.get("product", "no round was left")
        check.findings.add("matrix product", "", "", f"cannot run here: {why}")
    else:
        check.peaks[name] = peak
        what = "matrix product in fp32" if check.dry else "matrix product in bf16"
        check.findings.add(what, "", f"{peak / 1e12:,.2f} TFLOP/s", "")
    if peak and rate:
        share = rate * length * check.models.flops(name, length) / peak
        # MiniLM's products are too narrow for it: reading and writing its activations takes longer.
        goal, met = ("at least 50 %", check.verdict(share >= 0.5)) if name == BASE else ("", "")
        check.findings.add(f"{name}: real tokens, of the product's rate", goal, f"{100 * share:.0f} %", met)
    if medians and rate:
        best = max(medians, key=medians.get)
        ratio = rate / medians[best]
        goal, met = ("at least 1.5x", check.verdict(ratio >= 1.5)) if name == BASE else ("", "")
        check.findings.add(f"{name}: against the best rival, {best}", goal, f"{ratio:.2f}x", met)
