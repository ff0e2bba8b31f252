"""What the numba kernels share: compile options, and elementary functions that vectorise.

Imported only when a kernel is first needed, because importing numba takes a second.
"""

import logging
import math
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.event import Event, Listener, register
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

from sear.kernels.cache import keep


class _CompilingNotice(Listener):
    """Says once per process that kernels are being compiled; what is read from the cache is not compiled."""

    told = False

    def on_start(self, event: Event) -> None:
        if not self.told and event.data["dispatcher"].py_func.__module__.startswith("sear."):
            self.told = True
            logger.info("compiling kernels for this CPU: once per machine and version, up to a minute")

    def on_end(self, event: Event) -> None:
        """numba asks for this method too; the end of a compilation is not news."""


class _DisjointArrays(CompilerBase):
    """numba's usual passes, told that a function's arrays share no memory."""

    def define_pipelines(self):
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def compiled(
    function: Callable | None = None, *, reorder_sums: bool = False, disjoint: bool = False, inner: bool = False
) -> Callable:
    """Decorator: numba compiles `function` when it is first called and keeps the result on disk.

    nogil: kernels run beside each other on torch's threads. contract: a * b + c may become one instruction. The flags
    that reorder sums stay off by default: exp below needs (x + c) - c to be kept.

    reorder_sums: sums along a row become SIMD code.
    disjoint: promises that no array which `function` writes shares memory with another of its arguments. Without the
        promise the compiler makes a SIMD and a plain version of a loop that stores, and addresses decide which one
        runs; the two would add up a reordered sum differently.
    inner: for the parts of a kernel, which only compiled code calls; they compile faster.
    """
    if function is None:
        return partial(compiled, reorder_sums=reorder_sums, disjoint=disjoint, inner=inner)
    options = {"fastmath": {"contract", "reassoc", "nsz"} if reorder_sums else {"contract"}}
    if disjoint:
        options["pipeline_class"] = _DisjointArrays
    if inner:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher = numba.njit(nogil=True, error_model="numpy", **options)(function)
    keep(dispatcher)
    return dispatcher


logger = logging.getLogger("sear")
register("numba:compile", _CompilingNotice())


def _polynomial(base: float, degree: int) -> list[float]:
    """Near-minimax coefficients of base^r where |base^r - 1| < 1/2, exactly 1 at r = 0: no decay must stay no decay."""
    logarithm = math.log(base)
    half = 0.5 * math.log(2) / logarithm

    def slope(r):
        return np.where(np.abs(r) < 1e-9, logarithm, np.expm1(r * logarithm) / np.where(r == 0, 1, r))

    return [1.0, *Chebyshev.interpolate(slope, degree - 1, domain=(-half, half)).convert(kind=Polynomial).coef]


# type -> mantissa bits, least and greatest exponent kept, polynomial degree, bits of log(2) beside those of n
EXP = {types.float32: (23, -126, 127, 6, 12), types.float64: (52, -1022, 1023, 12, 40)}
LOG_2 = Decimal(2).ln()


def _fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Instruction for a * b + c, rounded once where the processor can."""
    name = f"llvm.fmuladd.{'f32' if isinstance(a.type, ir.FloatType) else 'f64'}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def _polynomial_code(builder: ir.IRBuilder, x: ir.Value, coefficients: list[float]) -> ir.Value:
    """Instructions for coefficients[0] + coefficients[1] x + …"""
    *others, total = (ir.Constant(x.type, coefficient) for coefficient in coefficients)
    for coefficient in reversed(others):
        total = _fma(builder, total, x, coefficient)
    return total


def _exp_code(builder: ir.IRBuilder, x: ir.Value, dtype: types.Float, base: float) -> ir.Value:
    """Instructions for base^x, base 2 or e: 2^n through the exponent bits times a polynomial.

    Results stop at the smallest and largest normal numbers instead of running into 0 and infinity; NaN stays NaN.
    """
    mantissa, low, high, degree, bits = EXP[dtype]
    int_type, log_base = ir.IntType(dtype.bitwidth), math.log2(base)
    constant = partial(ir.Constant, x.type)
    for comparison, limit in (("<", constant(low / log_base)), (">", constant(high / log_base))):
        x = builder.select(builder.fcmp_ordered(comparison, x, limit), limit, x)
    rounder = constant(1.5 * 2.0**mantissa)  # t + rounder holds round(t) in its lowest bits
    shifted = _fma(builder, x, constant(log_base), rounder) if base != 2 else builder.fadd(x, rounder)
    n = builder.fsub(shifted, rounder)
    if base == 2:
        r = builder.fsub(x, n)
    else:  # log(2) in two parts, the first so short that n * first is exact
        first = round(LOG_2 * 2**bits) / Decimal(2**bits)
        r = _fma(builder, n, constant(-float(first)), x)
        r = _fma(builder, n, constant(float(first - LOG_2)), r)
    power = _polynomial_code(builder, r, _polynomial(base, degree))
    exponent = builder.shl(builder.bitcast(shifted, int_type), ir.Constant(int_type, mantissa))
    return builder.bitcast(builder.add(builder.bitcast(power, int_type), exponent), x.type)


@intrinsic
def exp(typing_context, x):
    """e^x of a float32 or float64 in plain arithmetic: loops over it become SIMD code."""
    if x in EXP:
        return x(x), lambda context, builder, signature, arguments: _exp_code(builder, arguments[0], x, math.e)


@intrinsic
def exp2(typing_context, x):
    """2^x, as exp."""
    if x in EXP:
        return x(x), lambda context, builder, signature, arguments: _exp_code(builder, arguments[0], x, 2)


# log(1 + w) = 2 artanh(s) = 2 s (1 + s^2 / 3 + s^4 / 5 + …) with s = w / (2 + w); for w <= 1, s^2 <= 1/9
LOG1P = {real: [2 / (2 * k + 1) for k in range(terms)] for real, terms in ((types.float32, 7), (types.float64, 16))}


@intrinsic
def log1p(typing_context, w):
    """log(1 + w) of a float32 or float64 between 0 and 1, exact to rounding however small w is; plain as exp."""

    def code(context, builder, signature, arguments):
        s = builder.fdiv(arguments[0], builder.fadd(arguments[0], ir.Constant(arguments[0].type, 2.0)))
        return builder.fmul(s, _polynomial_code(builder, builder.fmul(s, s), LOG1P[w]))

    if w in LOG1P:
        return w(w), code
