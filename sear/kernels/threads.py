"""Calls a numba kernel over ranges of its work on torch's own threads, from inside compiled code: about 5 µs a call.

run_in_parallel of sear.kernels.compiler does the same from Python at 70 µs, which counts for short kernels.
"""

import ctypes

from llvmlite import binding, ir
from llvmlite.ir.instructions import CallInstr
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sear.kernels.compiler import _helpers, _torch_openmp

_body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


@_parallel
def _python_threads(body, shared, threads, _):
    """What GOMP_parallel does, where there is none."""
    helpers = [_helpers(threads - 1).submit(_body(body), shared) for _ in range(threads - 1)]
    _body(body)(shared)
    for helper in helpers:
        helper.result()


binding.add_symbol("sear_parallel", ctypes.cast(_torch_openmp() or _python_threads, ctypes.c_void_p).value)
INT, POINTER = ir.IntType(64), ir.IntType(8).as_pointer()


@intrinsic
def fork_join(typing_context, kernel, count, threads, arguments):
    """kernel(start, stop, *arguments) for ranges that cover range(count), by `threads` threads, whoever is free first.

    An intrinsic, because the threads need a plain C function that finds its arguments through one pointer. The kernel
    must not raise. Its ranges depend on the thread count: sums that must not need one partial for each unit of `count`.
    """
    signature = types.void(kernel, count, threads, arguments)

    def code(context, builder, signature, values):
        shared_type = ir.LiteralStructType([INT, INT, INT, values[3].type])  # next range, ranges, count, arguments
        body = _thread_body(context, builder.module, kernel, arguments, shared_type)
        _, count, threads, packed = values
        threads = _smaller(builder, count, threads)
        ranges = _smaller(builder, count, builder.mul(threads, ir.Constant(INT, 4)))  # a busy core takes fewer
        shared = builder.alloca(shared_type)
        for field, value in enumerate((ir.Constant(INT, 0), ranges, count, packed)):
            builder.store(value, _field(builder, shared, field))
        shared = builder.bitcast(shared, POINTER)
        with builder.if_else(builder.icmp_signed("<=", threads, ir.Constant(INT, 1))) as (run_here, run_on_all):
            with run_here:
                builder.call(body, [shared])
            with run_on_all:
                uint = ir.IntType(32)
                fork_type = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, uint, uint])
                fork = cgutils.get_or_insert_function(builder.module, fork_type, "sear_parallel")
                threads = builder.trunc(threads, uint)
                builder.call(fork, [builder.bitcast(body, POINTER), shared, threads, ir.Constant(uint, 0)])
        return context.get_dummy_value()

    return signature, code


def _smaller(builder, a, b):
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _field(builder, shared, field):
    return builder.gep(shared, [ir.Constant(ir.IntType(32), 0), ir.Constant(ir.IntType(32), field)])


def _thread_body(context, module, kernel, arguments, shared_type):
    """void body(void *shared): takes ranges until none is left."""
    signature = kernel.get_call_type(context.typing_context, (types.int64, types.int64, *arguments), {})
    overload = kernel.dispatcher.overloads[signature.args]
    body = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), module.get_unique_name("sear_thread_body"))
    body.linkage = "internal"
    builder = ir.IRBuilder(body.append_basic_block("entry"))
    loop, work, done = (body.append_basic_block(name) for name in ("loop", "work", "done"))
    shared = builder.bitcast(body.args[0], shared_type.as_pointer())
    ranges, count, packed = (builder.load(_field(builder, shared, field)) for field in (1, 2, 3))
    builder.branch(loop)
    builder.position_at_end(loop)
    part = builder.atomic_rmw("add", _field(builder, shared, 0), ir.Constant(INT, 1), "seq_cst")
    builder.cbranch(builder.icmp_signed("<", part, ranges), work, done)
    builder.position_at_end(work)
    start = builder.sdiv(builder.mul(count, part), ranges)
    stop = builder.sdiv(builder.mul(count, builder.add(part, ir.Constant(INT, 1))), ranges)
    unpacked = [builder.extract_value(packed, index) for index in range(len(arguments))]
    context.active_code_library.add_linking_library(overload.library)
    context.call_internal_no_propagate(builder, overload.fndesc, signature, [start, stop, *unpacked])
    _inline_last_call(builder)
    builder.branch(loop)
    builder.position_at_end(done)
    builder.ret_void()
    return body


def _inline_last_call(builder):
    """Make the kernel part of the body. As a function of its own it would also exist in the kernel's own module,
    compiled apart and so perhaps rounding otherwise; which of the two runs would depend on whether the cache was empty.
    """
    call = [instruction for instruction in builder.block.instructions if isinstance(instruction, CallInstr)][-1]
    call.attributes.add("alwaysinline")
