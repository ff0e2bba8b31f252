"""SIMD values for numba kernels: `Lanes` are rows of vectors that live in registers.

numba vectorises simple loops by itself; the scan keeps dozens of vectors in registers across its loop over time, which
needs to be said explicitly. LLVM splits the vectors where the machine's registers are narrower.
"""

import math
import operator

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.codegen import get_host_cpu_features
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numpy.polynomial import Chebyshev, Polynomial

from sear.compiled import exp_code, fma_code, splat_constant


def _vector_bytes() -> int:
    """Width of a register of the processor that numba compiles for: wider vectors would need too many of them."""
    features = numba.config.CPU_FEATURES
    return 64 if "+avx512f" in (get_host_cpu_features() if features is None else features) else 32


VECTOR_BYTES = _vector_bytes()
inlined = numba.njit(  # for the parts of a kernel, which Python never calls
    forceinline=True, error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True
)


class Lanes(types.Type):
    """`rows` vectors of as many numbers as fill a register; a single row meets any number of rows by repetition."""

    def __init__(self, dtype: types.Float, rows: int):
        self.dtype, self.rows, self.count = dtype, rows, 8 * VECTOR_BYTES // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype}, {rows})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        scalar = manager.lookup(lanes.dtype).get_value_type()
        super().__init__(manager, lanes, ir.ArrayType(ir.VectorType(scalar, lanes.count), lanes.rows))


def rows_of(builder: ir.IRBuilder, value: ir.Value, rows: int) -> list[ir.Value]:
    vectors = [builder.extract_value(value, row) for row in range(value.type.count)]
    return vectors * rows if len(vectors) == 1 else vectors


def join_rows(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    joined = ir.Constant(ir.ArrayType(vectors[0].type, len(vectors)), ir.Undefined)
    for row, vector in enumerate(vectors):
        joined = builder.insert_value(joined, vector, row)
    return joined


def _by_row(instruction):
    """numba code generator that applies `instruction(builder, *vectors)` to each row of its arguments."""

    def code(context, builder, call, arguments):
        split = [rows_of(builder, argument, call.return_type.rows) for argument in arguments]
        return join_rows(builder, [instruction(builder, *vectors) for vectors in zip(*split, strict=True)])

    return code


def _wider(*lanes: Lanes) -> Lanes | None:
    if all(isinstance(each, Lanes) for each in lanes):
        return max(lanes, key=lambda each: each.rows)


def _register_operator(function, method: str) -> None:
    @infer_global(function)
    class _Arithmetic(AbstractTemplate):
        def generic(self, arguments, keywords):
            if len(arguments) == 2 and (result := _wider(*arguments)) is not None:
                return signature(result, *arguments)

    lower_builtin(function, Lanes, Lanes)(_by_row(lambda builder, a, b: getattr(builder, method)(a, b)))


for _name, _method in {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}.items():
    _register_operator(getattr(operator, _name), _method)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    def generic(self, arguments, keywords):
        if isinstance(arguments[0], Lanes):
            return signature(arguments[0], *arguments)


lower_builtin(operator.neg, Lanes)(_by_row(lambda builder, x: builder.fneg(x)))


@intrinsic
def exp2(typing_context, x):
    """2^x, x Lanes."""
    return x(x), _by_row(lambda builder, vector: exp_code(builder, vector, x.dtype, 2))


@intrinsic
def exp(typing_context, x):
    """e^x, x Lanes."""
    return x(x), _by_row(lambda builder, vector: exp_code(builder, vector, x.dtype, math.e))


def _keep_sign(comparison: str):
    def instruction(builder, x):
        zero = splat_constant(x.type, 0.0)
        return builder.select(builder.fcmp_ordered(comparison, x, zero), zero, x)

    return _by_row(instruction)


@intrinsic
def positive_part(typing_context, x):
    """max(x, 0) in every lane, NaN for NaN."""
    return x(x), _keep_sign("<")


@intrinsic
def negative_part(typing_context, x):
    """min(x, 0) in every lane, NaN for NaN."""
    return x(x), _keep_sign(">")


@intrinsic
def where_negative(typing_context, x, a, b):
    """a in lanes where x < 0, else b."""

    def instruction(builder, x, a, b):
        return builder.select(builder.fcmp_ordered("<", x, splat_constant(x.type, 0.0)), a, b)

    return _wider(a, b)(x, a, b), _by_row(instruction)


@intrinsic
def add_up_rows(typing_context, start, tile):
    """One row: start plus the rows of `tile`."""

    def code(context, builder, call, arguments):
        (total,) = rows_of(builder, arguments[0], 1)
        for row in rows_of(builder, arguments[1], tile.rows):
            total = builder.fadd(total, row)
        return join_rows(builder, [total])

    return start(start, tile), code


def _log1p_coefficients(degree: int) -> list[float]:
    """log(1 + w) = 2 s P(s^2) with s = w / (2 + w): coefficients of P for 0 <= w <= 1, that is s^2 <= 1/9."""

    def series(q):
        s = np.sqrt(np.maximum(q, 1e-30))
        return 2 * np.arctanh(s) / s

    return list(Chebyshev.interpolate(series, degree, domain=(0, 1 / 9)).convert(kind=Polynomial).coef)


LOG1P = {types.float32: _log1p_coefficients(5), types.float64: _log1p_coefficients(13)}


@intrinsic
def log1p(typing_context, w):
    """log(1 + w), w Lanes between 0 and 1, exact to rounding however small w is."""

    def instruction(builder, w):
        s = builder.fdiv(w, builder.fadd(w, splat_constant(w.type, 2.0)))
        q = builder.fmul(s, s)
        first, *others = reversed([splat_constant(s.type, c) for c in LOG1P[lanes.dtype]])
        total = first
        for coefficient in others:
            total = fma_code(builder, total, q, coefficient)
        return builder.fmul(s, total)

    lanes = w
    return w(w), _by_row(instruction)


@inlined
def sigmoid(x, one):
    """1 / (1 + e^-x); `one` is a row of ones."""
    return one / (one + exp(-x))


@inlined
def softplus_and_slope(x, one):
    """log(1 + e^x) and its derivative, exact to rounding for large x of either sign; `one` is a row of ones."""
    small = exp(negative_part(x) - positive_part(x))
    share = one / (one + small)
    return positive_part(x) + log1p(small), where_negative(x, small * share, share)
