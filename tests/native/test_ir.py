"""IR as text: loops that may be empty, conditions, carried values, and where instructions go."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fad.native import engine
from fad.native.ir import Block, Value, call, constant, fma, literal, resized, where, write
from fad.native.module import Module

I, F = "i64", "double"


def compiled(body, *kinds, module=None):
    """``void f(ptr out, kinds...)`` as a function of Python's; ``body(block, out, *args)`` writes it."""
    module = module or Module(engine.machine().has_fma)

    def inside(block):
        body(block, Value(block, "%out", "ptr", 1), *(Value(block, f"%x{k}", kind, 1) for k, kind in enumerate(kinds)))

    module.function(f"void @f({', '.join(['ptr %out', *(f'{kind} %x{k}' for k, kind in enumerate(kinds))])})", inside)
    loaded = engine.load(str(module))
    types = {I: ctypes.c_int64, F: ctypes.c_double, "ptr": ctypes.c_void_p}
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *(types[k] for k in kinds))(loaded.address("f"))

    def run(*args, out=None):
        out = np.zeros(1, np.int64) if out is None else out
        function(out.ctypes.data, *args)
        return out if out.size > 1 else out[0].item()

    run.loaded, run.text = loaded, str(module)
    return run


def put(block, out, value, place=0):
    """Store a value at an element of ``out``; ``place`` is a number or a value."""
    name = place.name if isinstance(place, Value) else str(place)
    operands = (out, place) if isinstance(place, Value) else (out,)
    p = write(f"getelementptr {value.kind}, ptr {out.name}, i64 {name}", "ptr", 1, *operands)
    block.append(f"store {value.type} {value.name}, ptr {p.name}, align 8")


def take(block, p, kind=I):
    return block.effect(f"load {kind}, ptr {p.name}, align 8", kind, 1)


# -- loops -------------------------------------------------------------------------------------------------------------


def summing(empty, step=1):
    """100 + 3 times the sum of the indices from a to b."""

    def body(block, out, a, b):
        with block.loop(a, b, step, empty=empty) as loop:
            total = loop.carried(constant(100, a))
            loop.update(total, total + loop.index * 3)
        put(block, out, loop.last(total))

    return compiled(body, I, I)


maybe_empty, once_at_least = summing(True), summing(False)
by_fours = summing(True, 4)


@pytest.mark.smoke
@given(st.integers(-20, 20), st.integers(-20, 20))
def test_a_loop_that_may_be_empty(a, b):
    assert maybe_empty(a, b) == 100 + 3 * sum(range(a, b))
    assert by_fours(a, b) == 100 + 3 * sum(range(a, b, 4))


@given(st.integers(-20, 20), st.integers(1, 20))
def test_a_loop_that_runs_at_least_once(a, n):
    assert once_at_least(a, a + n) == 100 + 3 * sum(range(a, a + n))
    assert once_at_least(a, a - n) == 100 + 3 * a


def test_several_carried_values_change_at_once():
    """Fibonacci numbers: each update uses the values from before the turn."""

    def body(block, out, n):
        with block.loop(0, n, empty=True) as loop:
            a, b = loop.carried(constant(0, n)), loop.carried(constant(1, n))
            loop.update(a, b)
            loop.update(b, a + b)
        put(block, out, loop.last(a) * 1000 + loop.last(b))

    f = compiled(body, I)
    assert [f(n) for n in (0, 1, 2, 3, 10)] == [1, 1001, 1002, 2003, 55089]


@settings(max_examples=30)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_sums_through_nested_loops(n, m, k):
    assert nested(n, m, k) == sum(100 * i + 10 * j + l for i in range(n) for j in range(m) for l in range(k)) + 7


def nest(block, out, n, m, k):
    with block.loop(0, n, empty=True) as i:
        a = i.carried(constant(7, n))
        with i.loop(0, m, empty=True) as j:
            b = j.carried(a)
            with j.loop(0, k, empty=True) as l:
                c = l.carried(b)
                l.update(c, c + (i.index * 100 + j.index * 10 + l.index))
            j.update(b, l.last(c))
        i.update(a, j.last(b))
    put(block, out, i.last(a))


nested = compiled(nest, I, I, I)


def test_a_value_behind_an_empty_loop_in_a_loop_that_is_not():
    """The value of the outer loop where the inner one has no turns, between loops of both kinds."""

    def body(block, out, n):
        with block.loop(0, 4) as i:
            a = i.carried(constant(1, n))
            with i.loop(i.index, n, empty=True) as j:
                b = j.carried(a)
                j.update(b, b * 2)
            with i.loop(0, 2) as k:
                c = k.carried(j.last(b))
                k.update(c, c + 1)
            i.update(a, k.last(c))
        put(block, out, i.last(a))

    f = compiled(body, I)

    def expected(n):
        a = 1
        for i in range(4):
            a = a * 2 ** max(0, n - i) + 2
        return a

    assert [f(n) for n in range(-1, 6)] == [expected(n) for n in range(-1, 6)]


def test_carried_vectors():
    def body(block, out, p, n):
        with block.loop(0, n, empty=True) as loop:
            s = loop.carried(constant(1.0, Value(block.root, "0", F, 1)).spread(3))
            q = write(f"getelementptr double, ptr {p.name}, i64 {(loop.index * 3).name}", "ptr", 1, p, loop.index)
            x = loop.effect(f"load <3 x double>, ptr {q.name}, align 8", F, 3)
            loop.update(s, fma(x, x, s))
        put(block, out, loop.last(s))

    f, x = compiled(body, "ptr", I), np.arange(12.0)
    for n in range(5):
        np.testing.assert_array_equal(f(x.ctypes.data, n, out=np.zeros(3)), 1 + (x.reshape(4, 3)[:n] ** 2).sum(0))


# -- conditions --------------------------------------------------------------------------------------------------------


def conditional(block, out, a, b):
    put(block, out, constant(5, a))
    with block.when(a < b) as inside:
        put(inside, out, a * 10)
        with inside.when(a < 0) as deeper:
            put(deeper, out, b, 1)
    with block.when((a == 3) & (b == 3)) as inside:
        put(inside, out, a + b, 2)


when = compiled(conditional, I, I)


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_when(a, b):
    expected = [a * 10 if a < b else 5, b if a < b and a < 0 else 0, 6 if a == b == 3 else 0]
    assert when(a, b, out=np.zeros(3, np.int64)).tolist() == expected


def test_when_inside_and_around_loops():
    """A loop behind a condition in a loop: the label each ends in is where the next begins."""

    def body(block, out, n, k):
        with block.loop(0, n, empty=True) as i:
            total = i.carried(constant(0, n))
            with i.when(i.index > k) as inside:
                with inside.loop(0, i.index) as j:
                    s = j.carried(constant(0, n))
                    j.update(s, s + 1)
                put(inside, out, inside_sum(inside, out, j.last(s)))
            with i.when(i.index < k) as other:
                put(other, out, take(other, out) + 1000)
            i.update(total, total + i.index)
        put(block, out, i.last(total), 1)

    def inside_sum(inside, out, x):
        return take(inside, out) + x

    f = compiled(body, I, I)
    for n, k in [(0, 0), (5, 2), (6, 0), (4, 9)]:
        got = f(n, k, out=np.zeros(2, np.int64)).tolist()
        assert got == [sum(i for i in range(n) if i > k) + 1000 * sum(i < k for i in range(n)), sum(range(n))]


def test_values_of_a_condition_stay_inside():
    """What was written behind a condition is written again outside of it, not taken from there."""

    def body(block, out, a, b):
        with block.when(a > 0) as inside:
            x = inside.write(f"mul i64 {a.name}, {b.name}", I, 1)
            put(inside, out, x)
        put(block, out, a * b, 1)

    f = compiled(body, I, I)
    assert f(3, 4, out=np.zeros(2, np.int64)).tolist() == [12, 12]
    assert f(-3, 4, out=np.zeros(2, np.int64)).tolist() == [0, -12]


# -- where instructions go -----------------------------------------------------------------------------------------------


def test_invariants_are_written_once_before_the_loop():
    def body(block, out, a, b):
        with block.loop(0, b) as loop:
            total = loop.carried(a * b)
            loop.update(total, total + a * b)
        put(block, out, loop.last(total))

    f = compiled(body, I, I)
    assert f(3, 4) == 12 * 5
    assert f.text.count(" mul ") == 1
    assert f.text.index(" mul ") < f.text.index("phi")


def test_lines_of_the_outer_block_go_before_an_open_loop_in_order():
    def body(block, out, n):
        with block.loop(0, n) as outer, outer.loop(0, n) as inner:
            put(inner, out, (n + 1) * (outer.index + 2) + inner.index)  # n + 1 before both loops, (...) * (...) before the inner

    f = compiled(body, I)
    assert f(3) == 4 * 4 + 2
    lines = f.text.splitlines()
    place = lambda piece: next(k for k, line in enumerate(lines) if piece in line)
    loops = [k for k, line in enumerate(lines) if "phi" in line]
    assert place("add i64 %x0, 1") < loops[0] < place("mul") < loops[1]


def test_a_section_does_not_share_with_what_follows():
    """Memory may have changed: what a section loaded is loaded again behind it."""

    def body(block, out, p):
        for _ in range(2):
            with block.section() as inside:
                x = inside.write(f"load i64, ptr {p.name}, align 8", I, 1)
                put(inside, p, x + 1)
        put(block, out, take(block, p))

    counter = np.array([5])
    assert compiled(body, "ptr")(counter.ctypes.data) == 7


def test_effects_are_written_every_time():
    block = Block(Module())
    a, b = (block.effect("load i64, ptr %p", I, 1) for _ in range(2))
    assert a.name != b.name and len(block.items) == 2
    assert block.write("add i64 1, 2", I, 1) is block.write("add i64 1, 2", I, 1)
    assert len(block.items) == 3


# -- values --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(width=32), min_size=1, max_size=9), st.integers(1, 9))
@settings(max_examples=30)
def test_resized(x, lanes):
    x = np.array(x)

    def body(block, out, p):
        y = block.effect(f"load {'double' if x.size == 1 else f'<{x.size} x double>'}, ptr {p.name}, align 8", F, x.size)
        put(block, out, resized(y, lanes))

    got = np.zeros(lanes + 1)
    compiled(body, "ptr")(x.ctypes.data, out=got)
    np.testing.assert_array_equal(got[:-1], [x[k] if k < x.size else x[0] for k in range(lanes)])


@pytest.mark.parametrize("has_fma", [True, False])
def test_fma_rounds_once_where_the_cpu_can(has_fma):
    if has_fma and not engine.machine().has_fma:
        pytest.skip("this CPU has none")
    e = 2.0**-30
    f = compiled(lambda block, out, a, b: put(block, out, fma(a, b, -1.0)), F, F, module=Module(has_fma))
    assert f(1 + e, 1 - e, out=np.zeros(1)) == (-e * e if has_fma else 0.0)


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["i64", "i32", "i16", "i8"]))
def test_integer_literals_wrap_around(n, kind):
    assert int(literal(n, kind)) == n if kind == "i64" else int(literal(n, kind)) == np.int64(n).astype(f"i{int(kind[1:]) // 8}")


def test_intrinsics_and_selection():
    def body(block, out, a, b):
        put(block, out, call("smax", a, b) * 100 + where(a < b, a, 7))

    f = compiled(body, I, I)
    assert f(2, 3) == 302 and f(5, -1) == 507


def test_kinds_that_do_not_fit_are_refused():
    block = Block(Module())
    with pytest.raises(AssertionError, match="i64 meets double"):
        Value(block, "%a", I, 1) + Value(block, "%b", F, 1)
