"""Whether the default plan is a good one: other token budgets, sessions and units, the most telling first."""
from binary import CannotRun

from gpu.runs import OutOfTime

DEFAULT = (2, 65_536, "2MiB")
# Budgets of more tokens than a unit has need larger units.
PLANS = [
    DEFAULT, (2, 32_768, "2MiB"), (2, 131_072, "8MiB"), (1, 65_536, "2MiB"), (2, 65_536, "8MiB"), (3, 65_536, "8MiB"),
    (2, 262_144, "8MiB"), (2, 16_384, "2MiB"), (1, 131_072, "8MiB"), (3, 32_768, "2MiB"), (1, 32_768, "2MiB"),
    (1, 262_144, "8MiB"), (3, 131_072, "8MiB"), (1, 16_384, "2MiB"), (3, 16_384, "2MiB"), (3, 262_144, "16MiB"),
]
DRY = [(1, 512, "2MiB"), (1, 256, "2MiB")]
# Seconds of encoding a plan, and of all that a process needs besides.
SECONDS, BESIDES = 3, 6


def step(check):
    if check.gone():
        return check.findings.add("plans", "", "", "left out: no GPU")
    for name in check.models.names[: None if check.asked.sweep else 1]:
        sweep(check, name)


def sweep(check, name):
    plans, rates = DRY if check.dry else PLANS, {}
    rows = check.rows(int(check.rates.get(name, 5000) * SECONDS))
    for at, plan in enumerate(plans):
        if at and check.clock.left() < SECONDS + BESIDES:
            break
        try:
            rates[plan] = rate(check, name, plan, rows)
        except OutOfTime:
            break
        except CannotRun as why:
            check.findings.say(f"  {words(plan)}: {why}")
    if not rates:
        return check.findings.add(f"{name}: plans", "", "", "failed: none could be run")
    best = max(rates, key=rates.get)
    lines = [f"{found:12,.0f}  {words(plan)}" for plan, found in sorted(rates.items(), key=lambda item: -item[1])]
    untried = len(plans) - len(rates)
    check.findings.note(f"{name}: reviews/s by plan{f', {untried} not tried' if untried else ''}", "\n".join(lines))
    share = rates.get(plans[0], 0) / rates[best]
    measured = f"{100 * share:.0f} % of {words(best)}"
    check.findings.add(f"{name}: the default plan", "at least 95 % of the best", measured, check.verdict(share >= 0.95))


def rate(check, name, plan, rows):
    sessions, budget, unit = plan
    flags = [*check.way.flags, "--sessions", str(sessions), "--token-budget", str(budget), "--unit-bytes", unit]
    report, _ = check.runs.embed(check.source(), check.model_for(name), [*flags, "--limit", str(rows)])
    found = report["rows_out"] / report["encoder_seconds"]
    check.findings.say(f"  {words(plan)}: {found:,.0f} reviews/s, limit: {report['limiting_stage']}")
    return found


def words(plan):
    sessions, budget, unit = plan
    return f"{sessions} x {budget} tokens, units of {unit}"
