"""The inner tile under every convolution: a small strided matrix product accumulated in place.

numba's disk cache of a kernel does not notice edits to functions it calls from other files: after changing
this file, touch the kernels' files too.
"""

from fad.kernels.threads import inner

__all__ = ["accumulate"]


@inner
def accumulate(y, y_step, x, x_step, x_inner, w, w_step, rows, depth, width):
    """y[r, o] += sum_d x[r, d] * w[d, o] for flat arrays, r < rows, d < depth, o < width.

    y[r, o] is y[r * y_step + o], x[r, d] is x[r * x_step + d * x_inner], w[d, o] is w[d * w_step + o].
    Two rows and four depths at a time: eight products for each load and store of two sums, which keeps
    LLVM's vector loop over o near the arithmetic units rather than the cache.
    """
    r = 0
    while r + 2 <= rows:
        y0 = y[r * y_step : r * y_step + width]
        y1 = y[(r + 1) * y_step : (r + 1) * y_step + width]
        x0 = x[r * x_step :]
        x1 = x[(r + 1) * x_step :]
        d = 0
        while d + 4 <= depth:
            i, j = d * x_inner, d * w_step
            a0, b0, w0 = x0[i], x1[i], w[j : j + width]
            i, j = i + x_inner, j + w_step
            a1, b1, w1 = x0[i], x1[i], w[j : j + width]
            i, j = i + x_inner, j + w_step
            a2, b2, w2 = x0[i], x1[i], w[j : j + width]
            i, j = i + x_inner, j + w_step
            a3, b3, w3 = x0[i], x1[i], w[j : j + width]
            for o in range(width):
                y0[o] += a0 * w0[o] + a1 * w1[o] + a2 * w2[o] + a3 * w3[o]
                y1[o] += b0 * w0[o] + b1 * w1[o] + b2 * w2[o] + b3 * w3[o]
            d += 4
        while d < depth:
            a0, b0 = x0[d * x_inner], x1[d * x_inner]
            w0 = w[d * w_step : d * w_step + width]
            for o in range(width):
                y0[o] += a0 * w0[o]
                y1[o] += b0 * w0[o]
            d += 1
        r += 2
    if r < rows:
        y0 = y[r * y_step : r * y_step + width]
        x0 = x[r * x_step :]
        d = 0
        while d + 4 <= depth:
            i, j = d * x_inner, d * w_step
            a0, w0 = x0[i], w[j : j + width]
            a1, w1 = x0[i + x_inner], w[j + w_step : j + w_step + width]
            a2, w2 = x0[i + 2 * x_inner], w[j + 2 * w_step : j + 2 * w_step + width]
            a3, w3 = x0[i + 3 * x_inner], w[j + 3 * w_step : j + 3 * w_step + width]
            for o in range(width):
                y0[o] += a0 * w0[o] + a1 * w1[o] + a2 * w2[o] + a3 * w3[o]
            d += 4
        while d < depth:
            a0, w0 = x0[d * x_inner], w[d * w_step : d * w_step + width]
            for o in range(width):
                y0[o] += a0 * w0[o]
            d += 1
