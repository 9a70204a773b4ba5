"""Holds all but so many bytes of the card's memory, by plain allocations, until standard input ends:
`ballast.py LIBCUDART BYTES`.
"""
import ctypes
import sys

STEP = 4 << 30


def main():
    cudart, keep = ctypes.CDLL(sys.argv[1]), int(sys.argv[2])
    cudart.cudaGetErrorString.restype = ctypes.c_char_p
    free, whole, held = ctypes.c_size_t(), ctypes.c_size_t(), 0

    def done(code):
        if code:
            sys.exit(f"CUDA says {cudart.cudaGetErrorString(code).decode()} ({code})")

    done(cudart.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(whole)))
    while free.value > keep + (64 << 20):
        size = min(free.value - keep, STEP)
        done(cudart.cudaMalloc(ctypes.byref(ctypes.c_void_p()), ctypes.c_size_t(size)))
        held += size
        done(cudart.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(whole)))
    print(f"{held >> 20} MiB of the card held, {free.value >> 20} left", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
