"""The reviews that a check takes, as Parquet, in as many rows as a rate needs."""
import json
import pathlib
import random


class Reviews:
    def __init__(self, folder, limit, rows, runs):
        files = sorted(pathlib.Path(folder).rglob("*.txt"))
        random.Random(7).shuffle(files)
        self.texts = list(dict.fromkeys(file.read_text(encoding="utf-8") for file in files[:limit]))
        if not self.texts:
            raise SystemExit(f"check-gpu: no .txt files in {folder}")
        self.runs, self.made = runs, {}
        self.copies = -(-rows // len(self.texts))
        self.rows = self.copies * len(self.texts)

    def many(self):
        """What a GPU has done before its kernels are loaded says nothing: as many rows as a large dataset."""
        return self.parquet("many", self.copies)

    def once(self):
        return self.parquet("once", 1)

    def parquet(self, name, copies):
        """A folder of Parquet; each copy has texts of its own, since equal ones are encoded once."""
        if name not in self.made:
            lines = f"{self.runs.tmp}/{name}.jsonl"
            with open(lines, "w", encoding="utf-8") as file:
                for copy in range(copies):
                    for at, text in enumerate(self.texts):
                        row = {"text": f"{copy} {text}" if copy else text, "label": "ab"[at % 2]}
                        file.write(json.dumps(row) + "\n")
            self.runs.run(["ingest", lines, "--out", f"{self.runs.tmp}/{name}"])
            pathlib.Path(lines).unlink()
            self.made[name] = f"{self.runs.tmp}/{name}"
        return self.made[name]
