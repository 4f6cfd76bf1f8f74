"""The numba kernels of the metrics: numbers in, numbers out. Nothing else imports numba.

Kernels are compiled when first called and cached on disk. No kernel calls one of another file: numba would not notice
when the other file changes. Every kernel releases the interpreter's lock, so chunks of clips run on several threads.
"""
