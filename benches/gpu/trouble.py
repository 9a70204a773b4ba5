"""What is to be known where a GPU does not compute: the loader's and the driver's own words, in the log."""
import importlib.metadata
import os
import pathlib
import re
import sys

from binary import CannotRun

# The packages whose versions matter to whoever reads the log.
PACKAGES = ["torch", "transformers", "sentence-transformers", "tokenizers", "nvidia-cublas", "nvidia-cuda-runtime",
            "nvidia-curand", "nvidia-cudnn-cu13"]
# What ldd and loading.py say of what is not as it should be; the host's symbol comes with ONNX Runtime itself.
WRONG, HOST = re.compile("not found|undefined|no version|does not load|fails"), "Provider_GetHost"


def cuda_folder(bertline):
    """Where ONNX Runtime for GPUs lies, by the places in which the binary looks for it."""
    here = pathlib.Path(bertline).resolve().parent
    for folder in (here / "../lib/bertline", here / "../../.native"):
        if (folder / "onnxruntime-cuda").is_dir():
            return (folder / "onnxruntime-cuda").resolve()
    return None


def versions():
    return f"Python {sys.version.split()[0]}, {', '.join(map(version, PACKAGES))}"


def explain(check):
    """All of it into the log; below the table what is not as it should be."""
    folder = cuda_folder(check.asked.bertline)
    if folder is None:
        what = "no onnxruntime-cuda is beside the binary (`make deps-cuda`, or the pack's `unpack`)"
        return check.findings.note("Libraries", what)
    attempt(check, ["ls", "-lL", str(folder)])
    provider = str(folder / "libonnxruntime_providers_cuda.so")
    beside = ":".join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    links = attempt(check, ["ldd", "-r", provider], LD_LIBRARY_PATH=beside) or ""
    loads = attempt(check, [sys.executable, str(pathlib.Path(__file__).with_name("loading.py")), str(folder)]) or ""
    wrong = [line.strip() for line in f"{links}\n{loads}".splitlines() if WRONG.search(line) and HOST not in line]
    well = "every library loads, no symbol is missing, and the driver answers"
    check.findings.note("Libraries and driver", "\n".join(wrong) or well)


def version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def attempt(check, command, **environment):
    """What a program says, or nothing where it cannot be run or fails; the log has the rest."""
    try:
        return check.runs.process(command, (0, 1), environment)[0]
    except (CannotRun, OSError) as error:
        check.findings.log(str(error))
        return None
