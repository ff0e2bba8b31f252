"""Compiled code for the CPU (numba) and the GPU (Triton); each kernel computes what a plain function of ops does."""
