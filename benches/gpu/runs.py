"""The project's binary, run with a limit of time, with every command and all that it said in the log."""
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from binary import CannotRun


# What of a run.json is worth a line of the log.
TELLING = ["rows_out", "tokens", "padding_ratio", "seconds", "encoder_seconds", "stage_seconds", "limiting_stage",
           "plan", "numerics", "batches_split", "peak_rss_bytes"]


class OutOfTime(CannotRun):
    """The step's time was up."""


class Runs:
    def __init__(self, path, max_length, tmp, log, clock):
        self.path, self.max_length, self.tmp, self.log, self.clock = path, max_length, tmp, log, clock

    def run(self, arguments, codes=(0,), **environment):
        """What it printed, what it said, and its wall seconds."""
        return self.process([self.path, "--quiet", *arguments], codes, environment)

    def process(self, command, codes=(0,), environment=None):
        """Any program, ended when the step's time is."""
        given = [f"{key}={value}" for key, value in (environment or {}).items()]
        self.log(f"$ {' '.join([*given, shlex.join(command)])}")
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
        )
        try:
            out, words = process.communicate(timeout=max(self.clock.left(), 1))
        except subprocess.TimeoutExpired as late:
            kill(process)
            out, words = process.communicate()
            self.log(f"stopped: the time of this step is up\n{words[-2000:]}")
            raise OutOfTime(f"{command_name(command)}: stopped, the time of this step is up") from late
        except BaseException:
            kill(process)
            raise
        seconds = time.perf_counter() - start
        self.log(f"exit code {process.returncode} after {seconds:.2f} s\n{words[-4000:]}{short(out)}".rstrip())
        if process.returncode not in codes:
            said = [line for line in words.strip().splitlines() if line] or [f"exit code {process.returncode}"]
            raise CannotRun(f"{command_name(command)}: {said[-1].removeprefix('error: ')}")
        return out, words, seconds

    def embed(self, source, model, flags, keep=False, **environment):
        """The run.json of an `embed`, and its folder where that is to be kept."""
        out = tempfile.mkdtemp(dir=self.tmp)
        command = ["embed", source, "--out", out, "--model", model, "--max-length", str(self.max_length), *flags]
        try:
            _, words, seconds = self.run(command, **environment)
            report = json.loads(pathlib.Path(out, "run.json").read_text())
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
        self.log(f"run.json: {json.dumps({key: report[key] for key in TELLING if key in report})}")
        report["wall"], report["said"] = seconds, words
        if not keep:
            # A gigabyte of vectors that nobody needs.
            shutil.rmtree(out)
        return report, out

    def vectors(self, source, model, flags, **environment):
        """The vector of each text by its key, and the run.json."""
        report, out = self.embed(source, model, flags, keep=True, **environment)
        lines, _, _ = self.run(["show", f"{out}/features", "--json", "-n", str(report["rows_out"])])
        shutil.rmtree(out)
        rows = map(json.loads, lines.splitlines())
        return {row["key"]: row["embedding"] for row in rows}, report


def kill(process):
    """The process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def command_name(command):
    words = [word for word in command[:4] if not word.startswith("-")]
    return " ".join([pathlib.Path(words[0]).name, *words[1:2]])


def short(out):
    """What a command printed, unless it is data."""
    return f"\n{out}" if len(out) < 4000 else f"\n({len(out)} bytes on standard output)"
