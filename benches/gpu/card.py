"""The card itself: what it is, and how busy it is while something runs on it."""
import statistics
import subprocess

from gpu.runs import kill
from gpu.trouble import attempt

QUERY = ["nvidia-smi", "--format=csv,noheader,nounits"]


def name(check):
    """The card's name; the log has all that nvidia-smi says."""
    attempt(check, ["nvidia-smi"])
    said = attempt(check, [*QUERY, "--query-gpu=name,driver_version,memory.total"])
    return f"{said.strip().splitlines()[0]} MiB" if said and said.strip() else "no GPU"


class Watch:
    """How busy the first card is, five times a second, until it is asked."""

    def __init__(self):
        command = [*QUERY, "--id=0", "--query-gpu=utilization.gpu,power.draw,clocks.sm,memory.used", "--loop-ms=200"]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                start_new_session=True,
            )
        except OSError:
            self.process = None

    def stop(self):
        """In words, over the busier half of the time: a process begins and ends without the card."""
        if self.process is None:
            return ""
        kill(self.process)
        lines = [line.split(", ") for line in self.process.communicate()[0].splitlines()]
        samples = [tuple(map(float, line)) for line in lines if len(line) == 4 and all(map(is_number, line))]
        samples = sorted(samples, reverse=True)[: max(len(samples) // 2, 1)]
        if not samples:
            return ""
        busy, power, clock, memory = (statistics.median(column) for column in zip(*samples))
        return f"card busy {busy:.0f} %, {power:.0f} W, {clock:.0f} MHz, {memory:,.0f} MiB"


def is_number(text):
    return text.replace(".", "", 1).strip().isdigit()
