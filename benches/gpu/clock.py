"""How long the steps of a check may take."""
import time

# Some days: more than any wait can be told.
ENDLESS = 1e6


class Clock:
    """A schedule: a step has its own seconds and what the steps before it left; without `seconds`, all it wants."""

    def __init__(self, seconds, budgets):
        scale = seconds / sum(budgets.values()) if seconds else None
        self.ends, end = {}, 0
        for step, budget in budgets.items():
            end = end + budget * scale if scale else ENDLESS
            self.ends[step] = end
        self.start, self.until = time.monotonic(), ENDLESS

    def begin(self, step):
        self.until = self.ends[step]
        return self.left()

    def spent(self):
        return time.monotonic() - self.start

    def left(self):
        """Seconds until this step has to be through; may be none."""
        return min(max(self.until - self.spent(), 0), ENDLESS)
