"""A model folder with its weights in 16-bit floats, half the size: bertline widens them again."""
import array
import json
import pathlib
import shutil
import struct

# What lies in a model folder beside its weights and matters to anyone.
BESIDE = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]


def model(folder, into):
    folder, into = pathlib.Path(folder), pathlib.Path(into)
    into.mkdir(parents=True)
    for name in BESIDE:
        if (folder / name).is_file():
            shutil.copy(folder / name, into / name)
    weights(folder / "model.safetensors", into / "model.safetensors")


def weights(source, target):
    """Tensors of 32-bit floats rounded, all others as they are, in the order in which they lie."""
    with open(source, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        tensors, found, end = {}, [], 0
        for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = tensor["data_offsets"]
            file.seek(8 + size + first)
            data = file.read(last - first)
            if tensor["dtype"] == "F32":
                values = array.array("f", data)
                data, tensor["dtype"] = struct.pack(f"<{len(values)}e", *values), "F16"
            tensors[name] = {**tensor, "data_offsets": [end, end + len(data)]}
            end += len(data)
            found.append(data)
    head = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    head += b" " * (-len(head) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.writelines(found)
