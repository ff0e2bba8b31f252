"""Compiled code; nothing else imports numba, llvmlite or triton."""
