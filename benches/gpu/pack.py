"""A folder as pieces of one size, for channels that carry no more at a time, with the program that unpacks them.

The pieces in a row are one .tar.xz (`cat piece-* | xz -d | tar -x` works, too), made of many independent streams that
are unpacked side by side; `pack.json` says where they begin and what each piece's digest is. The same content gives the
same bytes, so that after a change only the pieces from there on need to be carried again: what changes least is first.
"""
import concurrent.futures
import hashlib
import json
import lzma
import os
import pathlib
import shutil
import tarfile

STREAM = 16 << 20
# Code packs a tenth smaller with its jumps made absolute, 16-bit floats with their two bytes told apart.
CODE = [{"id": lzma.FILTER_X86}]
HALVES = {"lc": 0, "lp": 1, "pb": 1}


def pack(folder, out, piece_bytes, preset, describe):
    """Packs `folder` under its own name into the folder `out`; `describe` goes into pack.json. What it says of them."""
    folder, out = pathlib.Path(folder), pathlib.Path(out)
    streams, pieces = [], Pieces(out, piece_bytes)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        waiting = []

        def settle(most):
            while len(waiting) > most:
                size, packed = waiting.pop(0)
                pieces.write(packed.result())
                streams.append([len(packed.result()), size])

        def stream(data, filters):
            compress = lambda: lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32, None, filters)
            waiting.append((len(data), threads.submit(compress)))
            settle(2 * os.cpu_count())

        cutter = Cutter(stream)
        with tarfile.open(fileobj=cutter, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path in listed(folder):
                cutter.kind(filters_of(path, preset))
                tar.add(path, path.relative_to(folder.parent), recursive=False, filter=same_everywhere)
        cutter.cut()
        settle(0)
    manifest = {**describe, "folder": folder.name, "pieces": pieces.close(), "streams": streams}
    (out / "pack.json").write_text(json.dumps(manifest))
    shutil.copy(pathlib.Path(__file__).with_name("unpack.py"), out / "unpack")
    (out / "unpack").chmod(0o755)
    return manifest


def listed(folder):
    """In the order of their names within a folder, and the top folders by how seldom they change."""
    order = ["lib", "model", "texts", "heads", "bin"]
    rank = lambda path: order.index(path.name) if path.name in order else len(order)
    for top in sorted(folder.iterdir(), key=lambda path: (rank(path), path.name)):
        yield top
        if top.is_dir() and not top.is_symlink():
            yield from sorted(top.rglob("*"))


def filters_of(path, preset):
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": preset}
    if path.suffix == ".safetensors":
        return [{**lzma2, **HALVES}]
    return [*CODE, lzma2] if ".so" in path.name or path.parent.name == "bin" else [lzma2]


def same_everywhere(entry):
    """Times and owners are this machine's."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 1_000_000_000
    entry.mode = 0o755 if entry.mode & 0o100 or entry.isdir() else 0o644
    return entry


class Cutter:
    """A file of which every 16 MiB, and every run of one kind, is a stream of its own."""

    def __init__(self, stream):
        self.stream, self.filters, self.data, self.written = stream, None, bytearray(), 0

    def kind(self, filters):
        if filters != self.filters:
            self.cut()
            self.filters = filters

    def tell(self):
        return self.written

    def write(self, data):
        self.written += len(data)
        data = memoryview(data)
        while data:
            room = STREAM - len(self.data)
            self.data += data[:room]
            data = data[room:]
            if len(self.data) == STREAM:
                self.cut()

    def cut(self):
        if self.data:
            self.stream(bytes(self.data), self.filters)
            self.data = bytearray()


class Pieces:
    """Files of at most so many bytes, numbered."""

    def __init__(self, out, size):
        self.out, self.size, self.done, self.data = out, size, [], bytearray()
        out.mkdir(parents=True, exist_ok=True)

    def write(self, data):
        self.data += data
        while len(self.data) > self.size:
            self.piece(self.data[: self.size])
            self.data = self.data[self.size :]

    def piece(self, data):
        name = f"piece-{len(self.done):03}"
        (self.out / name).write_bytes(data)
        self.done.append({"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})

    def close(self):
        if self.data:
            self.piece(self.data)
        return self.done
