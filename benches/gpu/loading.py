"""Loads CUDA's libraries one by one, as the binary does, and asks the driver what it has: `loading.py FOLDER`.

A process of its own, since a broken driver may end it. ONNX Runtime's provider cannot be loaded without its host.
"""
import ctypes
import pathlib
import sys

LIBRARIES = ["libcuda.so.1", "libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10"]
CALLS = [
    ("libcuda.so.1", "cuInit"), ("libcuda.so.1", "cuDriverGetVersion"), ("libcuda.so.1", "cuDeviceGetCount"),
    ("libcudart.so.13", "cudaDriverGetVersion"), ("libcudart.so.13", "cudaRuntimeGetVersion"),
    ("libcudart.so.13", "cudaGetDeviceCount"),
]


def main():
    folder, loaded = pathlib.Path(sys.argv[1]), {}
    for name in LIBRARIES:
        # The driver's is in the system's folders.
        path = name if name == "libcuda.so.1" else str(folder / name)
        try:
            loaded[name] = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            print(f"loads: {path}" + (f" = {pathlib.Path(path).resolve()}" if "/" in path else ""), flush=True)
        except OSError as error:
            print(f"does not load: {error}", flush=True)
    for name, call in CALLS:
        number = ctypes.c_int()
        if name in loaded and hasattr(loaded[name], call):
            code = getattr(loaded[name], call)(0 if call == "cuInit" else ctypes.byref(number))
            said = f"fails with code {code}" if code else "done" if call == "cuInit" else number.value
            print(f"{call}: {said}", flush=True)


if __name__ == "__main__":
    main()
