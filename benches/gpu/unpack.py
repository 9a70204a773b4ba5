#!/usr/bin/env python3
"""Checks the pieces beside this file and unpacks them into the folder in which it is run.

CUDA's libraries that did not come along are linked from the `nvidia` packages of the Python that has torch:
$CHECK_PYTHON, or python3. Nothing is needed but Python's standard library.
"""
import concurrent.futures
import hashlib
import json
import lzma
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

# Where a Python keeps NVIDIA's packages, asked without importing any of them.
WHERE = """
import importlib.util
found = importlib.util.find_spec("nvidia")
print(*(found.submodule_search_locations if found else []), sep="\\n")
"""


def main():
    start = time.perf_counter()
    here = pathlib.Path(__file__).resolve().parent
    manifest = json.loads(read(here / "pack.json"))
    target = pathlib.Path(manifest["folder"])
    if target.exists() and not (target / ".unpacked").exists():
        stop(f"`{target}` is there and was not unpacked from a pack; run this in another folder")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        data = b"".join(checked(here, manifest["pieces"], threads))
        scratch = pathlib.Path(tempfile.mkdtemp(prefix=".unpacking-", dir="."))
        try:
            extract(streams(data, manifest["streams"], threads), scratch)
            fresh = scratch / target
            (fresh / ".unpacked").write_text(json.dumps(manifest["pieces"]))
            link(fresh / "lib/bertline/onnxruntime-cuda", manifest["needs"])
            if target.exists():
                target.rename(scratch / "old")
            fresh.rename(target)
        finally:
            shutil.rmtree(scratch)
    print(f"unpacked in {time.perf_counter() - start:.1f} s; now: {target}/check")


def stop(why):
    sys.exit(f"unpack: {why}")


def read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        return stop(f"`{path.name}` cannot be read ({error.strerror}); it belongs into {path.parent}")


def checked(here, pieces, threads):
    """The pieces' bytes; every one that is missing or damaged is named before anything is written."""

    def check(piece):
        path = here / piece["name"]
        if not path.is_file():
            return f"{piece['name']} is missing"
        found = path.read_bytes()
        if len(found) != piece["bytes"]:
            return f"{piece['name']} is damaged: {len(found)} bytes where {piece['bytes']} are due"
        if hashlib.sha256(found).hexdigest() != piece["sha256"]:
            return f"{piece['name']} is damaged: its digest is another"
        return found

    found = list(threads.map(check, pieces))
    wrong = [words for words in found if isinstance(words, str)]
    if wrong:
        stop("; ".join(wrong) + f"; copy {'it' if len(wrong) == 1 else 'them'} into {here} again")
    return found


def streams(data, sizes, threads):
    """What the streams hold, in their order, unpacked side by side."""

    def one(first, packed, size):
        found = lzma.decompress(memoryview(data)[first : first + packed])
        if len(found) != size:
            stop("pack.json is of other pieces; copy all of the pack again")
        return found

    first, waiting = 0, []
    for packed, size in sizes:
        waiting.append(threads.submit(one, first, packed, size))
        first += packed
    while waiting:
        yield waiting.pop(0).result()


def extract(blocks, folder):
    """The tar that these blocks are."""

    class Tar:
        rest = b""

        def read(self, size):
            while len(self.rest) < size and (block := next(blocks, None)) is not None:
                self.rest = self.rest + block if self.rest else block
            found, self.rest = self.rest[:size], self.rest[size:]
            return found

    with tarfile.open(fileobj=Tar(), mode="r|", bufsize=16 << 20) as tar:
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def link(folder, needs):
    """NVIDIA's libraries of the Python there, beside ONNX Runtime's; the check says in full what it is to lack one."""
    if not needs:
        return
    python = os.environ.get("CHECK_PYTHON") or sys.executable
    found = subprocess.run([python, "-c", WHERE], capture_output=True, text=True)
    folders = [pathlib.Path(line) for line in found.stdout.splitlines()]
    for library in sorted(path for each in folders for path in each.glob("*/lib/*.so*")):
        if not (folder / library.name).exists():
            (folder / library.name).symlink_to(library.resolve())
    missing = [name for name in needs if not (folder / name).exists()]
    if missing:
        where = ", ".join(map(str, folders)) or "there is no package `nvidia`"
        print(
            f"unpack: warning: {python} has no {', '.join(missing)} ({where}); CHECK_PYTHON names the Python that has "
            "torch, and a pack made with ALL=1 brings them along", file=sys.stderr,
        )
    else:
        print(f"unpack: {', '.join(needs)} are those of {python}", file=sys.stderr)


if __name__ == "__main__":
    main()
