"""The numba kernels of the metrics: numbers in, numbers out. Nothing else imports numba.

`kernels.kernel` compiles them when first called and keeps them on disk. No kernel calls one of another file (see
there), which is why a few helpers stand in two files. All release the interpreter's lock, so chunks of clips run on
several threads.
"""
