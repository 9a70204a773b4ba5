"""The models of a check, the ways in which they may be computed, and the heads behind them."""
import json
import pathlib
import tempfile

from binary import CannotRun, base_model

MINILM, BASE = "MiniLM", "BERT-base"


class Way:
    """How bertline computes: what all steps run with."""

    def __init__(self, name, flags, ready=False):
        self.name, self.flags, self.ready = name, flags, ready


# What a GPU is asked for, and what it is asked for where that fails: the padded graph is of standard operators.
ON_GPU = [
    Way("fp16", ["--device", "cuda", "--precision", "fp16"]),
    Way("fp32", ["--device", "cuda", "--precision", "fp32"]),
    Way("padded graph, fp32", ["--device", "cuda"], ready=True),
]
# The graph of a GPU by the CPU's kernels, and what all are compared with.
ON_CPU = Way("fp16 on the CPU", ["--provider", "packed", "--precision", "fp16"])
REFERENCE = ["--provider", "mlas", "--precision", "fp32"]


class Models:
    def __init__(self, asked, tmp):
        self.minilm, self.tmp, self.made = asked.model, tmp, {}
        self.names = [name for name in (BASE, MINILM) if asked.only in (None, name)]

    def folder(self, name):
        """BERT-base has random weights, made where they are needed: rates do not depend on them."""
        if name == MINILM:
            return self.minilm
        if BASE not in self.made:
            self.made[BASE] = base_model(self.minilm, f"{self.tmp}/bert-base-random")
        return self.made[BASE]

    def flops(self, name, length):
        """Of a token in a text of this length: products with weights, and attention."""
        config = json.loads(pathlib.Path(self.folder(name), "config.json").read_text())
        hidden, wide, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
        return layers * (8 * hidden**2 + 4 * hidden * wide + 4 * length * hidden)


def head_of(runs, heads, name, model, source):
    """A head of this model: one that came along, else one that is trained now."""
    if heads and pathlib.Path(heads, name, "bundle.json").is_file():
        return str(pathlib.Path(heads, name))
    if not pathlib.Path(runs.path).resolve().with_name("bertline-train").is_file():
        raise CannotRun(f"no head of {name} came along, and there is no bertline-train to make one")
    head = tempfile.mkdtemp(dir=runs.tmp) + "/head"
    make_head(runs, model, source, head)
    return head


def make_head(runs, model, source, out):
    """Trained on the CPU's vectors: the check asks for its rate, not for its judgement."""
    _, features = runs.embed(source, model, [*ON_CPU.flags, "--limit", "16"], keep=True)
    runs.run(["train", features, "--epochs", "2", "--out", out])
