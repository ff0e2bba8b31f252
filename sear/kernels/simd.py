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
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numpy.polynomial import Chebyshev, Polynomial

from sear.kernels.compiler import exp_code, fma_code, splat_constant


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


@inlined
def aligned_scratch(array, size):
    """Uninitialised memory for `size` numbers of the array's type that starts where a whole vector may."""
    memory = np.empty(size + VECTOR_BYTES // array.itemsize, array.dtype)
    start = (-memory.ctypes.data % VECTOR_BYTES) // array.itemsize
    return memory[start : start + size]


def _pointer(context, builder, call, arguments, target: ir.Type, offset=None):
    """Address of array[index + offset], arguments = (array, index, …), seen as the address of a `target`."""
    data = context.make_array(call.args[0])(context, builder, arguments[0]).data
    index = arguments[1] if offset is None else builder.add(arguments[1], offset)
    return builder.bitcast(builder.gep(data, [index]), target.as_pointer())


def _vector_type(context, dtype: types.Float) -> ir.VectorType:
    return ir.VectorType(context.get_value_type(dtype), 8 * VECTOR_BYTES // dtype.bitwidth)


def _row_pointers(context, builder, call, arguments, rows: int) -> list[ir.Value]:
    vector = _vector_type(context, call.args[0].dtype)
    steps = [builder.mul(arguments[2], ir.Constant(arguments[2].type, row)) for row in range(rows)]
    return [_pointer(context, builder, call, arguments, vector, step) for step in steps]


@intrinsic(prefer_literal=True)
def load(typing_context, array, index, stride, rows):
    """`rows` (a constant) rows of Lanes from array[index + row * stride:]."""
    lanes = Lanes(array.dtype, rows.literal_value)

    def code(context, builder, call, arguments):
        pointers = _row_pointers(context, builder, call, arguments, lanes.rows)
        return join_rows(builder, [builder.load(pointer, align=array.dtype.bitwidth // 8) for pointer in pointers])

    return lanes(array, types.intp, types.intp, rows), code


@intrinsic
def store(typing_context, array, index, stride, value):
    """Put the rows of `value` at array[index + row * stride:]."""

    def code(context, builder, call, arguments):
        pointers = _row_pointers(context, builder, call, arguments, value.rows)
        for pointer, vector in zip(pointers, rows_of(builder, arguments[3], value.rows), strict=True):
            builder.store(vector, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), code


def _spread(builder: ir.IRBuilder, vector: ir.VectorType, number: ir.Value) -> ir.Value:
    first = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(single, single, first)


def _mask(builder: ir.IRBuilder, remaining: ir.Value, count: int) -> ir.Value:
    vector = ir.VectorType(remaining.type, count)
    numbers = ir.Constant(vector, [ir.Constant(remaining.type, lane) for lane in range(count)])
    return builder.icmp_signed("<", numbers, _spread(builder, vector, remaining))


def _masked(builder: ir.IRBuilder, action: str, vector: ir.VectorType, result, arguments: list[ir.Value]) -> ir.Value:
    name = f"llvm.masked.{action}.v{vector.count}{'f32' if isinstance(vector.element, ir.FloatType) else 'f64'}.p0"
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


@intrinsic
def load_first(typing_context, array, index, remaining):
    """One row from array[index:], of which only the first `remaining` lanes are read; the others are 0."""

    def code(context, builder, call, arguments):
        vector = _vector_type(context, array.dtype)
        align = ir.IntType(32)(array.dtype.bitwidth // 8)
        mask = _mask(builder, arguments[2], vector.count)
        pointer = _pointer(context, builder, call, arguments, vector)
        zeros = splat_constant(vector, 0.0)
        return join_rows(builder, [_masked(builder, "load", vector, vector, [pointer, align, mask, zeros])])

    return Lanes(array.dtype, 1)(array, types.intp, types.intp), code


@intrinsic
def store_first(typing_context, array, index, remaining, value):
    """Put the first `remaining` lanes of the one row `value` at array[index:]."""

    def code(context, builder, call, arguments):
        vector = _vector_type(context, array.dtype)
        align = ir.IntType(32)(array.dtype.bitwidth // 8)
        mask = _mask(builder, arguments[2], vector.count)
        pointer = _pointer(context, builder, call, arguments, vector)
        row = builder.extract_value(arguments[3], 0)
        _masked(builder, "store", vector, ir.VoidType(), [row, pointer, align, mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), code


@intrinsic(prefer_literal=True)
def spread(typing_context, array, index, rows):
    """`rows` (a constant) rows, each holding one number of array[index:] in all its lanes."""
    lanes = Lanes(array.dtype, rows.literal_value)

    def code(context, builder, call, arguments):
        vector = _vector_type(context, array.dtype)
        steps = [ir.Constant(arguments[1].type, row) for row in range(lanes.rows)]
        pointers = [_pointer(context, builder, call, arguments, vector.element, step) for step in steps]
        return join_rows(builder, [_spread(builder, vector, builder.load(pointer)) for pointer in pointers])

    return lanes(array, types.intp, rows), code


@intrinsic
def fill(typing_context, array, number):
    """One row with `number` in every lane, in the array's number type."""
    lanes = Lanes(array.dtype, 1)

    def code(context, builder, call, arguments):
        vector = _vector_type(context, array.dtype)
        number_ = context.cast(builder, arguments[1], number, array.dtype)
        return join_rows(builder, [_spread(builder, vector, number_)])

    return lanes(array, number), code


def _sums(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    """One vector of eight that holds the sum over the lanes of each of `vectors` (eight of them).

    Vectors are halved and put side by side, two into one, until every sum has come down to one element: about three
    instructions a vector, where summing each on its own takes eight.
    """
    count = vectors[0].type.count
    lane = 16 * count // VECTOR_BYTES  # elements in 128 bits, within which shuffles are cheap

    def merge(first: list[int], second: list[int]) -> list[ir.Value]:
        picks = [ir.Constant(ir.VectorType(ir.IntType(32), len(pick)), pick) for pick in (first, second)]
        partners = vectors[1::2] or vectors
        return [
            builder.fadd(*(builder.shuffle_vector(a, b, pick) for pick in picks))
            for a, b in zip(vectors[::2], partners, strict=True)
        ]

    unit = 1
    while unit < lane:
        steps = [(start, step) for start in range(0, count, lane) for step in range(0, lane // 2, unit)]
        halves = [
            [vector + start + half + step + e for start, step in steps for vector in (0, count) for e in range(unit)]
            for half in (0, lane // 2)
        ]
        vectors = merge(*halves)
        unit *= 2
    run = count
    while run > lane:
        both = (0, count) if len(vectors) > 1 else (0,)
        halves = [
            [vector + start + half + e for vector in both for start in range(0, count, run) for e in range(run // 2)]
            for half in (0, run // 2)
        ]
        vectors = merge(*halves)
        run //= 2
    while len(vectors) > 1:  # narrow registers: their sums side by side
        both = list(range(2 * vectors[0].type.count))
        both = ir.Constant(ir.VectorType(ir.IntType(32), len(both)), both)
        vectors = [builder.shuffle_vector(a, b, both) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


@intrinsic
def add_sums(typing_context, array, index, a, b):
    """array[index : index + 8] += the sums over the lanes of a's four rows, then of b's four."""

    def code(context, builder, call, arguments):
        sums = _sums(builder, rows_of(builder, arguments[2], 4) + rows_of(builder, arguments[3], 4))
        pointer, align = _pointer(context, builder, call, arguments, sums.type), array.dtype.bitwidth // 8
        before = builder.load(pointer, align=align)
        builder.store(builder.fadd(before, sums), pointer, align=align)
        return context.get_dummy_value()

    assert a.rows == b.rows == 4
    return types.void(array, types.intp, a, b), code
