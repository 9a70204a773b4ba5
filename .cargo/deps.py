#!/usr/bin/env python3
"""Put the pinned native libraries under .native/: ONNX Runtime with OpenVINO, and the CPU part of libtorch; with
`--cuda` instead the ONNX Runtime that computes on GPUs, and CUDA's libraries, under .native/onnxruntime-cuda/; with
`--cuda-train` the CUDA part of libtorch with the CUDA libraries that it was built for, under .native/libtorch-cuda/.

The wheels are named with hashes in *-requirements.txt and downloaded for a fixed platform
and Python, so the host's Python version does not matter. Only libraries and headers are kept. A folder appears whole or
not at all.
"""

import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
NATIVE = HERE.parent / ".native"
CUDA = NATIVE / "onnxruntime-cuda"
CUDA_TRAIN = NATIVE / "libtorch-cuda"

# wheel name prefix -> [(folder in the wheel, folder in .native, file names to keep; None keeps all)]
ONNXRUNTIME = {
    "libonnxruntime.so.1.24.1", "libonnxruntime_providers_openvino.so", "libonnxruntime_providers_shared.so",
    "libopenvino.so.2541", "libopenvino_c.so.2541", "libopenvino_intel_cpu_plugin.so",
    "libopenvino_onnx_frontend.so.2541", "libtbb.so.12", "libtbbmalloc.so",
}
TAKE = {
    "onnxruntime_openvino-": [("onnxruntime/capi/", "onnxruntime/", ONNXRUNTIME)],
    "torch-": [
        ("torch/lib/", "libtorch/lib/", {"libtorch_cpu.so", "libc10.so", "libgomp.so.1"}),
        ("torch/include/", "libtorch/include/", None),
    ],
    "nvidia_cuda_runtime-": [("nvidia/cu13/lib/", "libtorch/lib/", {"libcudart.so.13"})],
    "nvidia_cuda_cupti-": [("nvidia/cu13/lib/", "libtorch/lib/", {"libcupti.so.13"})],
}
# What the CUDA provider of ONNX Runtime asks for by name, all in one folder.
CUDA_LIBRARIES = [("nvidia/cu13/lib/", "", None), ("nvidia/cudnn/lib/", "", None)]
TAKE_CUDA = {
    "onnxruntime_gpu-": [("onnxruntime/capi/", "", {
        "libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so",
    })],
    "nvidia_": CUDA_LIBRARIES,
}
# What the CUDA part of libtorch asks for by name. cudart and cupti are loaded with its CPU part.
TAKE_CUDA_TRAIN = {
    "torch-": [("torch/lib/", "", {
        "libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libc10_cuda.so",
    })],
    "nvidia_cudnn": [("nvidia/cudnn/lib/", "", None)],
    "nvidia_cusparselt": [("nvidia/cusparselt/lib/", "", None)],
    "nvidia_nccl": [("nvidia/nccl/lib/", "", None)],
    "nvidia_nvshmem": [("nvidia/nvshmem/lib/", "", {"libnvshmem_host.so.3"})],
    "nvidia_cusolver": [("nvidia/cu13/lib/", "", {"libcusolver.so.12"})],
    "nvidia_": [("nvidia/cu13/lib/", "", None)],
}
# `libtorch.so` of the wheel pulls in CUDA; the CPU part alone answers to its name (and the linker wants libgomp.so).
LINKS = {
    "libtorch/lib/libtorch.so": "libtorch_cpu.so",
    "libtorch/lib/libgomp.so": "libgomp.so.1",
    "onnxruntime/libonnxruntime.so": "libonnxruntime.so.1.24.1",
}
LINKS_CUDA = {"libonnxruntime.so": "libonnxruntime.so.1.31.1"}


def download(requirements, megabytes, folder):
    print(f"deps: downloading the pinned wheels (about {megabytes:,} MB, once) ...", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--require-hashes", "--implementation", "cp", "--python-version", "3.11",
               "--abi", "cp311", "--abi", "none", "--dest", str(folder), "-r", str(requirements)]
    for tag in ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_25_x86_64", "manylinux_2_18_x86_64",
                "manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux2010_x86_64"):
        command += ["--platform", tag]
    if subprocess.run(command).returncode != 0:
        sys.exit("deps: pip could not download the native libraries; check the network (or pip's index settings) and "
                 "run make again")


def unpack(wheel, take, into):
    rules = next(rules for prefix, rules in take.items() if wheel.name.startswith(prefix))
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            for source, target, keep in rules:
                inside = name[len(source):]
                if not name.startswith(source) or name.endswith(("/", ".a")) or (keep is not None and inside not in keep):
                    continue
                path = into / target / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as reader, open(path, "wb") as writer:
                    shutil.copyfileobj(reader, writer, 1 << 20)


def put(folder, requirements, megabytes, take, links, also=None):
    """Makes `folder` out of the wheels that `requirements` names, unless it is made of them already."""
    stamp = hashlib.sha256(requirements.read_bytes() + pathlib.Path(__file__).read_bytes()).hexdigest()
    if (folder / "stamp").is_file() and (folder / "stamp").read_text() == stamp:
        return
    with tempfile.TemporaryDirectory(prefix=".native-", dir=NATIVE.parent) as scratch:
        wheels, fresh = pathlib.Path(scratch, "wheels"), pathlib.Path(scratch, "native")
        wheels.mkdir()
        download(requirements, megabytes, wheels)
        for wheel in sorted(wheels.glob("*.whl")):
            print(f"deps: unpacking {wheel.name}", flush=True)
            unpack(wheel, take, fresh)
            wheel.unlink()
        for link, target in links.items():
            os.symlink(target, fresh / link)
        if also:
            also(fresh)
        (fresh / "stamp").write_text(stamp)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(fresh, folder)
    print(f"deps: native libraries are in {folder.relative_to(NATIVE.parent)}/", flush=True)


def beside(fresh):
    (fresh / "libtorch/build-version").write_text("2.13.0\n")
    # What the other two put there stays.
    for folder in filter(pathlib.Path.is_dir, (CUDA, CUDA_TRAIN)):
        os.rename(folder, fresh / folder.name)


def main():
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit(f"deps: the pinned libraries are for Linux on x86-64; this is {platform.system()} on {platform.machine()}")
    if sys.argv[1:] == ["--cuda"]:
        put(CUDA, HERE / "cuda-requirements.txt", 1570, TAKE_CUDA, LINKS_CUDA)
    elif sys.argv[1:] == ["--cuda-train"]:
        put(CUDA_TRAIN, HERE / "cuda-train-requirements.txt", 2400, TAKE_CUDA_TRAIN, {})
    else:
        put(NATIVE, HERE / "native-requirements.txt", 620, TAKE, LINKS, beside)


if __name__ == "__main__":
    main()
