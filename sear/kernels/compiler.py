"""What the numba kernels share: compile options, torch's own threads, and an exponential that LLVM can vectorise.

Imported only when a kernel is first needed, because importing numba takes a second.
"""

import ctypes
import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from functools import cache, partial
from pathlib import Path

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.event import Event, Listener, register
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial


class _CompilingNotice(Listener):
    """Says once per process that kernels are being compiled; what is read from the cache is not compiled."""

    told = False

    def on_start(self, event: Event) -> None:
        if not self.told and event.data["dispatcher"].py_func.__module__.startswith("sear."):
            self.told = True
            logger.info("compiling kernels for this CPU: once per machine and version, up to a minute")

    def on_end(self, event: Event) -> None:
        """numba asks for this method too; the end of a compilation is not news."""


def _cache_folder() -> Path:
    """Where compiled kernels are kept, named by the sources of every file that kernels are made from.

    numba itself looks only at the file a kernel stands in: it would miss a change to a helper in another file.
    """
    package = Path(__file__).parent
    sources = [path.read_bytes() for path in sorted(package.glob("*.py"))]
    kernels = [source for source in sources if b"sear.kernels.compiler" in source] + [Path(__file__).read_bytes()]
    name = f"kernels-{hashlib.sha256(b''.join(kernels)).hexdigest()[:16]}"
    for place in (os.environ.get("NUMBA_CACHE_DIR"), package / "__pycache__", Path.home() / ".cache" / "sear"):
        with suppress(OSError):
            if place:
                (folder := Path(place) / name).mkdir(parents=True, exist_ok=True)
                return folder
    return Path(tempfile.mkdtemp(prefix="sear-"))


def compiled(function: Callable | None = None, *, reorder_sums: bool = False) -> Callable:
    """Decorator: numba compiles `function` when it is first called and keeps the result on disk.

    nogil: kernels run beside each other on torch's threads. contract: a * b + c may become one instruction. The flags
    that reorder sums stay off by default: exp below needs (x + c) - c to be kept. With reorder_sums, sums along a row
    become SIMD code; for loops that store nothing, as others get two versions whose orders differ (dropout_norm._sum).
    """
    if function is None:
        return partial(compiled, reorder_sums=reorder_sums)
    fastmath = {"contract", "reassoc", "nsz"} if reorder_sums else {"contract"}
    numba.config.CACHE_DIR, before = str(CACHE_FOLDER), numba.config.CACHE_DIR
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=fastmath)(function)
    finally:
        numba.config.CACHE_DIR = before


CACHE_FOLDER = _cache_folder()
logger = logging.getLogger("sear")
register("numba:compile", _CompilingNotice())
_parallel_body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _torch_openmp() -> Callable | None:
    """`GOMP_parallel` of the OpenMP library inside torch's wheel, or None where torch brings none (macOS, conda)."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        library = ctypes.CDLL(str(path))
        library.GOMP_parallel.argtypes = [_parallel_body, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        library.GOMP_parallel.restype = None
        return library.GOMP_parallel
    return None


@cache
def _helpers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sear-kernel")


def run_in_parallel(kernel: Callable, count: int, *arguments) -> None:
    """Call `kernel(start, stop, *arguments)` on ranges that cover range(count), on torch.get_num_threads() threads.

    The ranges depend on the thread count: a kernel whose sums must not should write one partial sum for each of the
    `count` units of work. The threads are those of torch's own OpenMP pool where it can be reached: after each parallel
    region of torch they spin for milliseconds, and a pool of our own would have to fight them for the cores.
    """
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        kernel(0, count, *arguments)
        return
    parts = min(count, 4 * threads)  # more parts than threads: a core that is busy elsewhere takes fewer of them
    edges = [count * part // parts for part in range(parts + 1)]
    ranges = zip(edges, edges[1:], strict=False)
    failures = []

    def take_ranges(_=None):
        try:
            for start, stop in ranges:
                kernel(start, stop, *arguments)
        except BaseException as error:  # would be printed and forgotten on its way through C
            failures.append(error)

    if (parallel := _torch_openmp()) is not None:
        parallel(_parallel_body(take_ranges), None, threads, 0)
    else:
        helpers = [_helpers(threads - 1).submit(take_ranges) for _ in range(threads - 1)]
        take_ranges()
        for helper in helpers:
            helper.result()
    if failures:
        raise failures[0]


def _polynomial(base: float, degree: int) -> list[float]:
    """Near-minimax coefficients of base^r where |base^r - 1| < 1/2, exactly 1 at r = 0: no decay must stay no decay."""
    logarithm = math.log(base)
    half = 0.5 * math.log(2) / logarithm

    def slope(r):
        return np.where(np.abs(r) < 1e-9, logarithm, np.expm1(r * logarithm) / np.where(r == 0, 1, r))

    return [1.0, *Chebyshev.interpolate(slope, degree - 1, domain=(-half, half)).convert(kind=Polynomial).coef]


# type -> mantissa bits, least and greatest exponent kept, polynomial degree, bits of log(2) that n leaves room for
EXP = {types.float32: (23, -126, 127, 6, 12), types.float64: (52, -1022, 1023, 12, 40)}
LOG_2 = Decimal(2).ln()


def splat_constant(llvm_type: ir.Type, value: float | int) -> ir.Constant:
    """A constant of a scalar type, or the same value in every lane of a vector type."""
    if isinstance(llvm_type, ir.VectorType):
        return ir.Constant(llvm_type, [ir.Constant(llvm_type.element, value)] * llvm_type.count)
    return ir.Constant(llvm_type, value)


def fma_code(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Instruction for a * b + c, rounded once where the processor can; llvmlite cannot name the vector forms itself."""
    element = a.type.element if isinstance(a.type, ir.VectorType) else a.type
    lanes = f"v{a.type.count}" if isinstance(a.type, ir.VectorType) else ""
    name = f"llvm.fmuladd.{lanes}{'f32' if isinstance(element, ir.FloatType) else 'f64'}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def exp_code(builder: ir.IRBuilder, x: ir.Value, dtype: types.Float, base: float) -> ir.Value:
    """Instructions for base^x, base 2 or e, of a scalar or a vector: 2^n through the exponent bits times a polynomial.

    Results stop at the smallest and largest normal numbers instead of running into 0 and infinity; NaN stays NaN.
    """
    mantissa, low, high, degree, bits = EXP[dtype]
    int_type = ir.IntType(dtype.bitwidth)
    if isinstance(x.type, ir.VectorType):
        int_type = ir.VectorType(int_type, x.type.count)
    fma = partial(fma_code, builder)

    def constant(value):
        return splat_constant(x.type, value)

    log_base = math.log2(base)
    for comparison, limit in (("<", constant(low / log_base)), (">", constant(high / log_base))):
        x = builder.select(builder.fcmp_ordered(comparison, x, limit), limit, x)
    rounder = constant(1.5 * 2.0**mantissa)  # t + rounder holds round(t) in its lowest bits
    shifted = fma(x, constant(log_base), rounder) if base != 2 else builder.fadd(x, rounder)
    n = builder.fsub(shifted, rounder)
    if base == 2:
        r = builder.fsub(x, n)
    else:  # log(2) in two parts, the first so short that n * first is exact
        first = round(LOG_2 * 2**bits) / Decimal(2**bits)
        r = fma(n, constant(-float(first)), x)
        r = fma(n, constant(float(first - LOG_2)), r)
    coefficients = [constant(c) for c in _polynomial(base, degree)]
    power = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        power = fma(power, r, coefficient)
    exponent = builder.shl(builder.bitcast(shifted, int_type), splat_constant(int_type, mantissa))
    return builder.bitcast(builder.add(builder.bitcast(power, int_type), exponent), x.type)


@intrinsic
def exp(typing_context, x):
    """e^x of a float32 or float64 in plain arithmetic: loops over it become SIMD code."""
    if x in EXP:
        return x(x), lambda context, builder, signature, arguments: exp_code(builder, arguments[0], x, math.e)
