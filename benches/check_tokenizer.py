#!/usr/bin/env python3
"""Compares `bertline tokenize` with Hugging Face tokenizers, text by text, and both rates on one thread.

Ids (truncated) and token counts (before truncation) must be equal on all 50,000 IMDB reviews, the tweets and the odd
reference texts; exit code 1 where one differs. `make check-tokenizer` runs it.
"""
import argparse
import csv
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

# Before the import: the rate of one thread is compared.
os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
import tokenizers  # noqa: E402

CHUNK = 1000
# Texts whose rates are compared, in turn: a pass over all of them takes minutes, in which a machine's speed changes.
SAMPLE = 4000
RATE = re.compile(r"tokenize: (\d+) texts, .* in ([\d.]+) s on 1 thread:")


def imdb(shared, tmp, limit):
    """The reviews in the order of their names, as they stand in the archive."""
    texts = {}
    with tarfile.open(shared / "data/aclImdb-labelled.tar.xz") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".txt"):
                texts[member.name] = archive.extractfile(member).read().decode("utf-8")
    texts = [texts[name] for name in sorted(texts)][:limit]
    return jsonl(texts, tmp), texts


def tweets(shared, _tmp, limit):
    path = shared / "data/csv/Tweets.csv"
    with open(path, encoding="utf-8", newline="") as file:
        return path, [row["text"] for row in csv.DictReader(file)][:limit]


def reference(shared, _tmp, limit):
    import pyarrow.parquet

    path = shared / "reference/minilm-cls-250.parquet"
    return path, pyarrow.parquet.read_table(path, columns=["text"])["text"].to_pylist()[:limit]


def jsonl(texts, tmp):
    path = pathlib.Path(tmp) / "texts.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    return path


def ours(binary, source, model, max_length, limit):
    """(n_tokens, ids) of each text, and the seconds that the command says for tokenizing alone."""
    command = [binary, "tokenize", str(source), "--model", model, "--max-length", str(max_length), "--threads", "1"]
    done = subprocess.run(command + ["--limit", str(limit), "--text-column", "text"], capture_output=True, text=True)
    found = RATE.search(done.stderr)
    if done.returncode or not found:
        sys.exit(f"`bertline tokenize` failed: {done.stderr.strip()}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(line["n_tokens"], line["ids"]) for line in lines], float(found[2])


class Rival:
    """tokenizers, with the faster of its two batch calls."""

    def __init__(self, model, max_length, sample):
        self.whole = tokenizers.Tokenizer.from_file(f"{model}/tokenizer.json")
        self.whole.no_padding()
        self.whole.no_truncation()
        self.cut = tokenizers.Tokenizer.from_file(f"{model}/tokenizer.json")
        self.cut.no_padding()
        self.cut.enable_truncation(max_length)
        calls = [name for name in ("encode_batch_fast", "encode_batch") if hasattr(self.cut, name)]
        self.call = min(calls, key=lambda name: self.timed(name, sample))

    def timed(self, name, texts):
        start = time.perf_counter()
        getattr(self.cut, name)(texts)
        return time.perf_counter() - start

    def encode(self, texts):
        """(n_tokens, ids) of each text."""
        encoded = []
        for at in range(0, len(texts), CHUNK):
            both = [getattr(one, self.call)(texts[at : at + CHUNK]) for one in (self.whole, self.cut)]
            encoded += [(len(full.ids), kept.ids) for full, kept in zip(*both)]
        return encoded

    def seconds(self, texts):
        """Seconds of the truncated ids alone."""
        return sum(self.timed(self.call, texts[at : at + CHUNK]) for at in range(0, len(texts), CHUNK))


def compare(name, source, texts, found, expected):
    """How many texts differ; the first few are shown."""
    if len(found) != len(texts):
        print(f"{name}: {len(found)} texts from `bertline tokenize {source}`, {len(texts)} expected")
        return max(len(found), len(texts))
    wrong = [at for at, pair in enumerate(zip(found, expected)) if pair[0] != pair[1]]
    for at in wrong[:5]:
        print(f"{name}: text {at} differs: {texts[at][:80]!r}\n  ours {found[at]}\n  hf   {expected[at]}")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertline", required=True, help="the binary")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--shared", required=True, type=pathlib.Path, help="folder with data/ and reference/")
    parser.add_argument("--only", default="imdb,tweets,reference")
    parser.add_argument("--texts", help="JSON lines with a `text` field instead of the three sets")
    parser.add_argument("--limit", type=int, default=10**9, help="texts of each set")
    parser.add_argument("--rounds", type=int, default=3, help="for the rates; ids are compared once")
    parser.add_argument("--max-length", type=int, default=250)
    parser.add_argument("--json", help="keep the figures in this file")
    asked = parser.parse_args()

    figures, failed = {}, False
    print(f"tokenizers {tokenizers.__version__}, one thread each, max_length {asked.max_length}", flush=True)
    with tempfile.TemporaryDirectory() as tmp:
        if asked.texts:
            lines = pathlib.Path(asked.texts).read_text(encoding="utf-8").split("\n")
            given = [json.loads(line)["text"] for line in lines if line][: asked.limit]
            sets = {"texts": lambda *_: (asked.texts, given)}
        else:
            sets = {make.__name__: make for make in (imdb, tweets, reference) if make.__name__ in asked.only.split(",")}
        for name, make in sets.items():
            source, texts = make(asked.shared, tmp, asked.limit)
            rival = Rival(asked.model, asked.max_length, texts[:500])
            seconds = {"ours": [], "theirs": []}
            expected = rival.encode(texts)
            found, _ = ours(asked.bertline, source, asked.model, asked.max_length, asked.limit)
            sample = texts[:SAMPLE]
            for _ in range(asked.rounds):
                seconds["theirs"].append(rival.seconds(sample))
                seconds["ours"].append(ours(asked.bertline, source, asked.model, asked.max_length, len(sample))[1])
            wrong = compare(name, source, texts, found, expected)
            failed |= wrong > 0
            tokens = sum(count for count, _ in expected)
            rates = {who: len(sample) / statistics.median(taken) for who, taken in seconds.items()}
            megabytes = sum(len(text.encode()) for text in texts) / 1e6
            ratio = rates["ours"] / rates["theirs"]
            figures[name] = {"texts": len(texts), "tokens": tokens, "different": wrong, "ratio": ratio,
                             "texts_per_second": rates, "seconds": seconds, "call": rival.call}
            print(
                f"{name}: {len(texts)} texts, {tokens} tokens, {wrong} differ; bertline {rates['ours']:.0f} texts/s "
                f"({megabytes * rates['ours'] / len(texts):.1f} MB/s), tokenizers ({rival.call}) "
                f"{rates['theirs']:.0f} ({megabytes * rates['theirs'] / len(texts):.1f} MB/s): {ratio:.2f}x",
                flush=True,
            )
    if asked.json:
        pathlib.Path(asked.json).write_text(json.dumps(figures, indent=1))
    print("ids and counts " + ("DIFFER" if failed else "are identical"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
