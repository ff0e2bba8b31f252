"""Compile every Triton kernel for cards that need not be here: python -m tests.kernels.compile_kernels 80:fp16 90:fp32.

Prints a line for each: name, capability:type, bytes of shared memory, bytes of machine code.
"""

import sys
from itertools import chain

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sear.kernels import triton_convolution, triton_layer_norm, triton_scan

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int64: "*i64"}


def compiled(kernel, arguments, options, capability):
    """arguments: the values of a call in order, tensors on any device."""
    signature, constants = {}, {}
    for position, name in enumerate(kernel.arg_names):
        if name in options:
            signature[name], constants[(position,)] = "constexpr", options[name]
        else:
            value = arguments[position]
            scalar = "fp32" if isinstance(value, float) else "i32"
            signature[name] = TYPES[value.dtype] if isinstance(value, torch.Tensor) else scalar
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(
        source, target=target, options={name: options[name] for name in ("num_warps", "enable_fp_fusion")}
    )


def scan_kernels(dtype):
    """(name, kernel, arguments, options) at the sizes of SEAR.yaml."""
    rows, length, channels, states = 2, 100, 128, 32
    u, delta, z = (torch.empty(rows, length, channels, dtype=dtype) for _ in range(3))
    B, C = (torch.empty(rows, length, states, dtype=dtype) for _ in range(2))
    A, D, bias = torch.empty(channels, states), torch.empty(channels), torch.empty(channels)
    call = triton_scan._Call(u, delta, A, B, C, D, z, bias)
    _, forward = call.launch(triton_scan.FORWARD)
    _, backward = call.launch(triton_scan.BACKWARD)
    arguments = (*call.tensors, u, A, *call.strides, *call.sizes)
    yield "scan_forward", triton_scan._forward_kernel, arguments, forward | {"KEEP": True}
    arguments = (*call.tensors, u, A, u, u, u, A, A, *call.strides, *u.stride()[:2], *call.sizes)
    yield "scan_backward", triton_scan._backward_kernel, arguments, backward


def convolution_kernels(dtype):
    x, weight, bias = torch.empty(2, 100, 128, dtype=dtype), torch.empty(128, 4), torch.empty(128)
    tensors, sizes, _, options = triton_convolution._call(x, weight, bias)
    yield "convolution_forward", triton_convolution._forward_kernel, (*tensors, x, *x.stride()[:2], *sizes), options
    arguments = (*tensors, x, x, weight, *x.stride()[:2], *x.stride()[:2], *sizes)
    yield "convolution_backward", triton_convolution._backward_kernel, arguments, options | {"PARTS": 8}


def layer_norm_kernels(dtype):
    x, weight, seed = torch.empty(100, 64, dtype=dtype), torch.empty(64), torch.zeros(1, dtype=torch.int64)
    options = triton_layer_norm._options(x, x, weight, 0.2)
    arguments = (x, x, weight, weight, weight, seed, x, weight, weight, 100, 64, 1e-5, 0.2, 1.25)
    yield "layer_norm_forward", triton_layer_norm._forward_kernel, arguments, options
    arguments = (x, x, weight, weight, seed, weight, weight, x, x, x, weight, 100, 1, 64, 0.2, 1.25)
    yield "layer_norm_backward", triton_layer_norm._backward_kernel, arguments, options


def main(wanted):
    for pair in wanted:
        capability, type_name = pair.split(":")
        dtype = next(dtype for dtype, pointer in TYPES.items() if pointer == f"*{type_name}")
        for name, kernel, arguments, options in chain(
            scan_kernels(dtype), convolution_kernels(dtype), layer_norm_kernels(dtype)
        ):
            code = compiled(kernel, arguments, options, int(capability))
            print(name, pair, code.metadata.shared, len(code.asm["cubin"]))


if __name__ == "__main__":
    main(sys.argv[1:])
