"""What a check finds: a table and a log, on disk after every line, since time on a rented GPU may end at any moment."""
import datetime
import os
import pathlib
import sys


class Findings:
    """The table (`gpu-check.md`) and the log (`gpu-check.log`) in one folder."""

    def __init__(self, folder, title):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.title, self.lines, self.notes = folder / "gpu-check.md", title, [], []
        self.record = open(folder / "gpu-check.log", "w", encoding="utf-8")
        self.step = ""
        self.write()

    def add(self, what, goal, measured, met):
        """A line; `met` is whether the goal is, or what to say instead."""
        verdict = met if isinstance(met, str) else "met" if met else "not met"
        self.say(f"  {what}: {shortened(measured or verdict)}")
        self.lines.append((self.step, what, goal, measured, verdict))
        self.log(f"TABLE {what} | {goal} | {measured} | {verdict}")
        self.write()

    def note(self, title, text):
        """A paragraph below the table."""
        self.notes.append((title, text.strip("\n")))
        self.log(f"{title}\n{text}")
        self.write()

    def say(self, text):
        print(text, file=sys.stderr, flush=True)
        self.log(text)

    def log(self, text):
        now = datetime.datetime.now().strftime("%H:%M:%S")
        self.record.write(f"{now} {text}\n")
        self.record.flush()

    def text(self):
        cell = lambda words: shortened(" ".join(words.split())).replace("|", "\\|")
        rows = ["| " + " | ".join(map(cell, line)) + " |" for line in self.lines]
        table = [self.title, "", "| | | goal | measured | |", "|---|---|---|---|---|", *rows]
        notes = [line for title, text in self.notes for line in ("", f"{title}:", "", "```", text, "```")]
        return "\n".join([*table, *notes]) + "\n"

    def write(self):
        """Whole or not at all: whoever copies it may do so at any time."""
        fresh = self.path.with_suffix(".part")
        fresh.write_text(self.text(), encoding="utf-8")
        os.replace(fresh, self.path)

    def bad(self):
        """Whether a goal was not met, or a step failed."""
        return any(line[-1].startswith(("not met", "failed")) for line in self.lines)


def shortened(words, most=1000):
    """A provider writes paragraphs, which the log has whole."""
    return words if len(words) <= most else f"{words[: most // 2]} ... {words[-most // 2 :]}"
