"""Hugging Face torch with SDPA, sentence-transformers and a plain matrix product: questions on standard input, one JSON
line each, answers on standard output.
"""
import gc
import importlib
import json
import os
import sys
import time

SECONDS = 1.5


class Process:
    def __init__(self, texts, max_length, device):
        import torch

        self.torch, self.texts, self.max_length, self.device = torch, texts, max_length, device
        self.loaded = {}
        self.wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def dtype(self, name):
        precision = name.split()[-1]
        return {"fp16": self.torch.float16, "bf16": self.torch.bfloat16, "fp32": self.torch.float32}[precision]

    def wake(self):
        """What takes its time and needs no GPU."""
        for package in ("transformers", "sentence_transformers"):
            importlib.import_module(package)
        return {}

    def product(self):
        """Of random numbers, the median of single products: zeros would run faster."""
        torch = self.torch
        dtype, size = (torch.bfloat16, 8192) if self.device == "cuda" else (torch.float32, 512)
        one, other = (torch.randn(size, size, device=self.device, dtype=dtype) for _ in range(2))
        seconds = []
        for _ in range(25):
            self.wait()
            start = time.perf_counter()
            one @ other
            self.wait()
            seconds.append(time.perf_counter() - start)
        return {"rate": 2 * size**3 / sorted(seconds[5:])[10]}

    def load(self, name, model):
        make = self.sentences if name.startswith("sentence") else self.transformers
        encode = make(model, self.dtype(name))
        encode()
        self.loaded[name] = encode
        return {}

    def transformers(self, model, dtype):
        """Tokenized before the clock starts, longest first, 256 at a time, the CLS rows back on the CPU."""
        import transformers

        torch = self.torch
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        bert = transformers.AutoModel.from_pretrained(model, attn_implementation="sdpa", dtype=dtype)
        bert = bert.to(self.device).eval()
        encoded = tokenizer(self.texts, truncation=True, max_length=self.max_length)["input_ids"]
        encoded.sort(key=len, reverse=True)

        def encode():
            with torch.inference_mode():
                for first in range(0, len(encoded), 256):
                    batch = tokenizer.pad({"input_ids": encoded[first : first + 256]}, return_tensors="pt")
                    bert(**batch.to(self.device)).last_hidden_state[:, 0].float().cpu()

        return encode

    def sentences(self, model, dtype):
        import sentence_transformers

        keywords = {"dtype": dtype, "attn_implementation": "sdpa"}
        encoder = sentence_transformers.SentenceTransformer(model, device=self.device, model_kwargs=keywords)
        encoder.max_seq_length = self.max_length
        # As tensors: numpy has no bf16.
        flags = {"batch_size": 256, "show_progress_bar": False, "convert_to_tensor": True}
        return lambda: encoder.encode(self.texts, **flags).float().cpu()

    def run(self, name):
        """As many passes as a measurement needs."""
        passes, start = 0, time.perf_counter()
        while passes == 0 or self.device == "cuda" and time.perf_counter() - start < SECONDS:
            self.loaded[name]()
            passes += 1
        return {"seconds": time.perf_counter() - start, "texts": passes * len(self.texts)}

    def drop(self):
        self.loaded.clear()
        gc.collect()
        if self.device == "cuda":
            self.torch.cuda.empty_cache()
        return {}


def main():
    texts, max_length, device = sys.argv[1:]
    # Only answers go to standard output, whatever a library prints.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    process = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if process is None:
                with open(texts, encoding="utf-8") as file:
                    process = Process(json.load(file), int(max_length), device)
            answer = getattr(process, question.pop("do"))(**question)
        except Exception as why:  # whatever a rival's installation throws, the others are worth having
            first = (str(why).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(why).__name__}: {first[:300]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
