"""Kernels of the CPU engine, compiled by Numba where they run: no C++ compiler is needed."""
