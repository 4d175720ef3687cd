import math
import numpy as np
from fad.native.launch import get_num_threads
from fad.kernels import convolution as K
from fad.kernels.pieces import run
from fad.kernels.tile import ROWS, BYTES, VECTORS

def steps(shape):
    return [math.prod(shape[i+1:]) for i in range(len(shape))]

def three(seq, fill):
    return [fill]*(3-len(seq)) + list(seq)

def split(rows, columns, groups, width, depth_total):
    """rows of a piece, columns of a piece"""
    want = 4 * get_num_threads()
    chunk = min(rows, 240)
    chunk = -(-chunk // ROWS) * ROWS
    share = columns
    pieces = -(-rows // chunk) * groups
    while pieces < want and share > width:
        share = -(-share // 2 // width) * width
        pieces = -(-rows // chunk) * groups * -(-columns // share)
    while pieces < want and chunk > 48:
        chunk = max(48, -(-chunk // 2 // ROWS) * ROWS)
        pieces = -(-rows // chunk) * groups * -(-columns // share)
    return chunk, share, pieces

def product(x, w, y, axes, geometry_in):
    pass

def conv(x, w, strides, padding, dilation=None, groups=1):
    rank = x.ndim - 2
    dilation = dilation or (1,)*rank
    sizes, taps = x.shape[1:-1], w.shape[:-2]
    out = tuple((n + lo + hi - d*(k-1) - 1)//s + 1 for n,(lo,hi),d,k,s in zip(sizes,padding,dilation,taps,strides))
    O, Cg = w.shape[-1], w.shape[-2]
    y = np.empty((x.shape[0], *out, O), x.dtype)
    xs, ws, ys = steps(x.shape), steps(w.shape), steps(y.shape)
    axes = [[1,1,1,0,1,1,0,0,0,0,0]]*(3-rank) + [[out[a], sizes[a], strides[a], -padding[a][0], dilation[a], taps[a], xs[a+1], 0, ws[a], 0, ys[a+1]] for a in range(rank)]
    return window_product(x, w, y, axes, x.shape[0]*math.prod(out), O//groups, groups, Cg, xs[0], ys[0], O, 1, O//groups)

def window_product(x, w, y, axes, rows, columns, groups, depth, x_batch, y_batch, w_row, w_column, w_group):
    width = VECTORS*BYTES//x.itemsize
    last = axes[2]
    joined = groups == 1 and last[4]*last[6] == depth and last[5]*depth <= K.DEPTH and last[5] > 1
    chunk, share, pieces = split(rows, columns, groups, width, 0)
    g = [*axes[0], *axes[1], *axes[2], rows, chunk, columns, share, groups, depth, int(joined), x_batch, y_batch, w_row, w_column, w_group]
    run(K.convolve_pieces, [x, w, y], g, pieces)
    return y

def conv_input_grad(g, w, shape, strides, padding, dilation=None, groups=1):
    rank = g.ndim - 2
    dilation = dilation or (1,)*rank
    sizes, taps = shape[1:-1], w.shape[:-2]
    O, Cg = w.shape[-1], w.shape[-2]
    gs, ws, xs = steps(g.shape), steps(w.shape), steps(shape)
    import itertools
    y = np.empty(shape, g.dtype)
    phases = []
    for a in range(rank):
        s, d, lo = strides[a], dilation[a], padding[a][0]
        q = math.gcd(s, d)
        found = []
        for i in range(min(s, sizes[a])):
            ts = [t for t in range(taps[a]) if (i + lo - t*d) % s == 0]
            count = -(-(sizes[a]-i)//s)
            if not ts: found.append(None); continue
            t1 = ts[-1]   # turned round
            found.append([count, g.shape[a+1], 1, (i + lo - t1*d)//s, d//q, len(ts), gs[a+1], t1*ws[a], -(s//q)*ws[a], i*xs[a+1], s*xs[a+1]])
        phases.append(found)
    if any(None in f for f in phases): y[...] = 0
    for axes in itertools.product(*phases):
        if None in axes: continue
        axes = [[1,1,1,0,1,1,0,0,0,0,0]]*(3-rank) + list(axes)
        rows = shape[0]*axes[0][0]*axes[1][0]*axes[2][0]
        window_product(g, w, y, axes, rows, Cg, groups, O//groups, gs[0], xs[0], 1, O, O//groups)
    return y

def conv_weight_grad(x, g, window, strides, padding, dilation=None, groups=1):
    rank = x.ndim - 2
    dilation = dilation or (1,)*rank
    C, O = x.shape[-1], g.shape[-1]
    Cg = C//groups
    shape = (*window, Cg, O)
    xs, ws = steps(x.shape), steps(shape)
    out = g.shape[1:-1]
    axes = [[1,1,1,0,1,1,0,0,0,0,0]]*(3-rank) + [[out[a], x.shape[a+1], strides[a], -padding[a][0], dilation[a], window[a], xs[a+1], 0, ws[a], 0, 0] for a in range(rank)]
    positions = math.prod(g.shape[:-1]); taps = math.prod(window)
    joined = int(groups == 1 and dilation[-1] == 1 and window[-1]*Cg <= 192)
    unit = window[-1]*Cg if joined else Cg
    if unit <= 192: rows = 192//unit*unit; blocks = -(-taps//(rows//Cg))
    else: rows = 192; blocks = taps * -(-Cg//192)
    chunks = max(1, min(16, -(-16//(blocks*groups)), -(-positions//256)))
    chunk = -(-positions//chunks)
    chunk = -(-chunk//K.POSITIONS)*K.POSITIONS; chunks = -(-positions//chunk)
    size = math.prod(shape)
    y = np.empty((chunks, *shape), x.dtype)
    geo = [*axes[0],*axes[1],*axes[2], positions, chunk, rows, O//groups, groups, Cg, joined, xs[0], O, size]
    run(K.sum_weights_pieces, [x, g, y], geo, blocks*groups*chunks)
    return y[0] if chunks == 1 else y.sum(0)
