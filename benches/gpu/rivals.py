"""What bertline is compared with, in a process of its own: one that hangs costs the check its figures alone."""
import json
import pathlib
import selectors
import subprocess
import sys

from binary import CannotRun

from gpu.runs import OutOfTime, kill

# As rival_process.py names them.
NAMES = ["transformers fp16", "transformers bf16", "sentence-transformers fp16", "sentence-transformers bf16"]
DRY_NAMES = ["transformers fp32", "sentence-transformers fp32"]


class Rivals:
    def __init__(self, check):
        self.clock, self.log = check.clock, check.findings.log
        self.names = DRY_NAMES if check.dry else NAMES
        texts = pathlib.Path(check.tmp, "texts.json")
        texts.write_text(json.dumps(check.reviews.texts))
        script = str(pathlib.Path(__file__).with_name("rival_process.py"))
        self.command = [sys.executable, script, str(texts), str(check.asked.max_length), "cpu" if check.dry else "cuda"]
        self.words = open(f"{check.tmp}/rivals.log", "w+", encoding="utf-8", errors="replace")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, text=True,
            start_new_session=True,
        )
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.process.stdout, selectors.EVENT_READ)
        # Its packages take as long to import as a step of ours: the answer is read when the first rival is wanted.
        self.send(do="wake")
        self.asleep = True

    def ask(self, **question):
        """Its answer; an error of its own is one of ours."""
        if self.process is None:
            self.start()
        if self.asleep:
            self.asleep = False
            self.log(f"rivals: awake, {self.answer()}")
        self.send(**question)
        answer = self.answer()
        self.log(f"rivals: {question} -> {answer}")
        if "error" in answer:
            raise CannotRun(answer["error"])
        return answer

    def send(self, **question):
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError) as gone:
            raise self.ended() from gone

    def answer(self):
        if not self.ready.select(timeout=max(self.clock.left(), 1)):
            self.close()
            raise OutOfTime("the rivals' process was stopped: the time of this step is up")
        line = self.process.stdout.readline()
        if not line:
            raise self.ended()
        return json.loads(line)

    def ended(self):
        self.close()
        self.words.seek(0)
        said = self.words.read().strip()
        self.log(f"rivals said:\n{said[-6000:]}")
        return CannotRun(f"the rivals' process has ended: {(said.splitlines() or ['it said nothing'])[-1]}")

    def close(self):
        """The next question starts another."""
        if self.process is not None:
            kill(self.process)
            self.process.wait()
            self.process = None

    def product(self):
        """Multiplications and additions a second of one large product in bf16."""
        return self.ask(do="product")["rate"]

    def load(self, name, model):
        return self.ask(do="load", name=name, model=model)

    def rate(self, name):
        """Reviews a second."""
        answer = self.ask(do="run", name=name)
        return answer["texts"] / answer["seconds"]

    def drop(self):
        """Gives the memory of all models back."""
        self.ask(do="drop")
