#!/usr/bin/env python3
"""Packs all that the check on a GPU needs for a machine without network: pieces of at most 60 MiB and `unpack`.

Of CUDA it takes nothing that a Python with torch has there: `unpack` links those libraries. The model's weights go in
16 bits, and heads come along, so that nothing there needs libtorch. With `--all` CUDA's libraries, cuDNN, OpenVINO and
libtorch come along, several times as much. `make pack-gpu` runs it.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from binary import CannotRun
from gpu import half
from gpu.clock import Clock
from gpu.models import BASE, MINILM, Models, make_head
from gpu.pack import pack
from gpu.reviews import Reviews
from gpu.runs import Runs

# What ONNX Runtime's CUDA provider is linked against: src/encode/library.rs loads them.
CUDA = ["libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10"]
CHECK = """#!/usr/bin/env bash
# The check, from wherever this folder lies, with any Python ($CHECK_PYTHON); the rivals need torch, transformers and
# sentence-transformers in it, and those that are not there are left out by name. Table and log go to $OUT, or here.
set -euo pipefail
out=${OUT:-$PWD}
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
exec "${CHECK_PYTHON:-python3}" benches/check_gpu.py --bertline "$PWD/bin/bertline" --model "$PWD/model" \\
    --texts "$PWD/texts" --heads "$PWD/heads" --out "$out" --seconds 450 "$@"
"""


def say(text):
    print(f"pack-gpu: {text}", file=sys.stderr, flush=True)


def libraries(native, into, everything):
    """ONNX Runtime for GPUs, which computes on the CPU, too, where its own for the CPU did not come along."""
    cuda = into / "onnxruntime-cuda"
    cuda.mkdir(parents=True)
    for path in sorted((native / "onnxruntime-cuda").iterdir()):
        if everything or path.name.startswith("libonnxruntime"):
            shutil.copy2(path, cuda / path.name, follow_symlinks=False)
    if not everything:
        (into / "onnxruntime").symlink_to("onnxruntime-cuda")
        return [name for name in CUDA if not (cuda / name).exists()]
    shutil.copytree(native / "onnxruntime", into / "onnxruntime", symlinks=True)
    shutil.copytree(native / "libtorch/lib", into / "libtorch/lib", symlinks=True)
    if (native / "libtorch-cuda").is_dir():
        shutil.copytree(native / "libtorch-cuda", into / "libtorch-cuda", symlinks=True)
    return []


def programs(bertline, into, everything):
    """Without symbols: they are a quarter of the file."""
    into.mkdir()
    for name in ["bertline", *(["bertline-train"] if everything else [])]:
        shutil.copy(bertline.with_name(name) if name != "bertline" else bertline, into / name)
        if shutil.which("strip"):
            subprocess.run(["strip", str(into / name)], stderr=subprocess.DEVNULL)


def texts(source, into, most):
    """One flat folder: names repeat between the labels' folders."""
    into.mkdir()
    found = sorted(pathlib.Path(source).rglob("*.txt"))
    # From all over the folder: a label's reviews stand together.
    for at, path in enumerate(found[:: max(len(found) // most, 1)][:most]):
        shutil.copy(path, into / f"{at:06}.txt")


def heads(asked, model, whole, tmp):
    """What `score` needs there; weights made anew there are the same to the bit."""
    runs = Runs(str(asked.bertline), 250, tmp, lambda text: None, Clock(None, {}))
    reviews = Reviews(whole / "texts", 16, 1, runs)
    models = Models(argparse.Namespace(model=model, only=asked.only), tmp)
    for name in models.names:
        say(f"a head for {name}")
        make_head(runs, models.folder(name), reviews.once(), str(whole / "heads" / name))


def megabytes(path):
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    return sum(file.stat().st_size for file in files) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertline", required=True, type=lambda path: pathlib.Path(path).absolute(), help="the binary")
    parser.add_argument("--native", required=True, type=pathlib.Path, help="folder of native libraries")
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--texts", required=True, help="folder of .txt files")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder of the pieces; a pack is replaced")
    parser.add_argument("--limit", type=int, default=4000, help="texts")
    parser.add_argument("--only", choices=(MINILM, BASE), help="a head for this model alone")
    parser.add_argument("--piece-bytes", type=int, default=60 << 20)
    parser.add_argument("--all", action="store_true", help="every library, libtorch too")
    asked = parser.parse_args()
    if asked.out.exists() and not (asked.out / "unpack").exists():
        sys.exit(f"pack-gpu: `{asked.out}` is there and no pack; OUT names another folder")
    if not (asked.native / "onnxruntime-cuda").is_dir():
        sys.exit(f"pack-gpu: no {asked.native}/onnxruntime-cuda; run `make deps-cuda` first")
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=asked.out.absolute().parent) as tmp:
        os.environ["BERTLINE_CACHE"] = f"{tmp}/cache"
        whole, here = pathlib.Path(tmp, "bertline-gpu"), pathlib.Path(__file__).parent
        whole.mkdir()
        needs = libraries(asked.native, whole / "lib/bertline", asked.all)
        programs(asked.bertline, whole / "bin", asked.all)
        half.model(asked.model, whole / "model")
        texts(asked.texts, whole / "texts", asked.limit)
        heads(asked, str(whole / "model"), whole, tmp)
        (whole / "benches/gpu").mkdir(parents=True)
        for path in [here / "check_gpu.py", here / "binary.py", *sorted((here / "gpu").glob("*.py"))]:
            shutil.copy(path, whole / "benches" / path.relative_to(here))
        (whole / "check").write_text(CHECK)
        (whole / "check").chmod(0o755)
        sizes = ", ".join(f"{path.name} {megabytes(path):.1f}" for path in sorted(whole.iterdir()))
        say(f"packing {megabytes(whole):.0f} MB (MB: {sizes})")
        # Bytes that are compressed already are most of it: more effort gains a percent.
        manifest = pack(whole, f"{tmp}/pieces", asked.piece_bytes, 1 if asked.all else 7, {"needs": needs})
        shutil.rmtree(asked.out, ignore_errors=True)
        os.rename(f"{tmp}/pieces", asked.out)
    pieces = ", ".join(f"{piece['bytes'] / 1e6:.1f}" for piece in manifest["pieces"])
    count, there = len(manifest["pieces"]), f"{asked.out.name}/unpack && bertline-gpu/check"
    say(f"{count} pieces in {asked.out} (MB: {pieces}); there: {there}")


if __name__ == "__main__":
    try:
        main()
    except CannotRun as why:
        sys.exit(f"pack-gpu: {why}")
