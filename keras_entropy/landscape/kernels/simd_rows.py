"""Rows of float32 numbers that compiled code keeps in SIMD registers.

A row has one number for each point of a block, in `vectors` vectors of eight. Call the functions of `Rows` only from
functions that Numba compiles; each becomes a few SIMD instructions, independent of the loops around it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model

_INNER: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner: Any = njit(**_INNER)  # for functions that only compiled functions call
inlined: Any = njit(**_INNER, forceinline=True)  # the same, inlined

LANES = 8
_FLOAT = ir.FloatType()
_DOUBLE = ir.DoubleType()
_INT = ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(_INT, LANES)
_FLAGS = ("contract",)  # allow fused multiply-add, and no other reordering


class Row(types.Type):
    """The Numba type of a row."""

    def __init__(self, vectors: int):
        self.vectors = vectors
        super().__init__(name=f"Row({vectors})")


@register_model(Row)
class _RowModel(models.PrimitiveModel):
    def __init__(self, manager: Any, row: Row):
        super().__init__(manager, row, ir.ArrayType(_VECTOR, row.vectors))


class Rows(NamedTuple):
    """The operations on rows of one length, as intrinsics of Numba."""

    load: Any  # (array, index): the row that begins at the index
    store: Any  # (array, index, row)
    fill: Any  # (number): a row of this number
    add: Any
    subtract: Any
    multiply: Any
    larger: Any  # (row, row): elementwise maximum
    at_least: Any  # (row, number): elementwise maximum with the number
    add_scaled: Any  # (row, number, row): row + number * row
    magnitude: Any
    exp: Any  # for numbers <= 0; exact at 0; at least exp(-87)
    differ: Any  # (row, row): whether the rows differ anywhere
    count_above: Any  # (row, row): in how many places the first is larger
    miss: Any  # (row, row, row): the first, or 1 where the second is not larger than the third
    total: Any  # the sum, as float64
    compound: Any  # the product of (1 + number), minus 1, as float64, precise for small numbers


def _constant(value: float, vector: ir.VectorType = _VECTOR) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


def _spread(builder: Any, scalar: Any) -> Any:
    """Return a vector of eight equal numbers."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, pointee: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), pointee.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4
    return value


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, pointer).align = 4


def _larger(builder: Any, first: Any, second: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", first, second), first, second)


def _reduce(builder: Any, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the numbers of a vector pairwise, until one is left."""
    size = vector.type.count
    while size > 1:
        size //= 2
        halves = [
            builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_INT, size), list(range(at, at + size))))
            for at in (0, size)
        ]
        vector = combine(*halves)
    return builder.extract_element(vector, ir.Constant(_INT, 0))


def _exp(builder: Any, x: Any) -> Any:
    """Compute exp(x) = 2^n exp(r): a polynomial in r, with n added to its exponent bits."""
    magic = _constant(1.5 * 2**23)  # adding it rounds x to an integer, in the lowest bits of the sum
    x = _larger(builder, x, _constant(-87.0))
    shifted = builder.fadd(builder.fmul(x, _constant(1 / math.log(2)), _FLAGS), magic, _FLAGS)
    n = builder.fsub(shifted, magic)
    r = builder.fadd(builder.fmul(n, _constant(-0.693359375), _FLAGS), x, _FLAGS)
    r = builder.fadd(builder.fmul(n, _constant(2.12194440e-4), _FLAGS), r, _FLAGS)
    value = _constant(1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5, 1.0, 1.0):
        value = builder.fadd(builder.fmul(value, r, _FLAGS), _constant(coefficient), _FLAGS)
    bits = builder.shl(builder.bitcast(shifted, _INTS), _constant(23, _INTS))
    return builder.bitcast(builder.add(builder.bitcast(value, _INTS), bits), _VECTOR)


@functools.cache
def rows(vectors: int) -> Rows:
    """Return the operations on rows of `8 * vectors` numbers."""
    row = Row(vectors)
    be_type = ir.ArrayType(_VECTOR, vectors)

    def parts(builder: Any, value: Any) -> list[Any]:
        return [builder.extract_value(value, k) for k in range(vectors)]

    def pack(builder: Any, values: Any) -> Any:
        packed = ir.Constant(be_type, ir.Undefined)
        for k, value in enumerate(values):
            packed = builder.insert_value(packed, value, k)
        return packed

    def each(operation: Callable[..., Any], *kinds: Any) -> Any:
        """Apply an operation vector by vector; a number becomes a vector of equal numbers first."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            columns = [
                parts(builder, value) if kind is row else [_spread(builder, value)] * vectors
                for kind, value in zip(kinds, args, strict=True)
            ]
            return pack(builder, [operation(builder, *column) for column in zip(*columns, strict=True)])

        return codegen

    def unary(operation: Callable[..., Any]) -> Any:
        @intrinsic
        def function(typing: Any, first: Any) -> Any:
            return row(row), each(operation, row)

        return function

    def binary(operation: Callable[..., Any], second_kind: Any = row) -> Any:
        @intrinsic
        def function(typing: Any, first: Any, second: Any) -> Any:
            return row(row, second_kind), each(operation, row, second_kind)

        return function

    @intrinsic
    def load(typing: Any, array: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _address(context, builder, signature.args[0], args[0], args[1], _VECTOR)
            steps = [builder.gep(pointer, [ir.Constant(_INT, k)]) for k in range(vectors)]
            return pack(builder, [_load(builder, step) for step in steps])

        return row(array, types.intp), codegen

    @intrinsic
    def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _address(context, builder, signature.args[0], args[0], args[1], _VECTOR)
            for k, part in enumerate(parts(builder, args[2])):
                _store(builder, part, builder.gep(pointer, [ir.Constant(_INT, k)]))
            return context.get_dummy_value()

        return types.void(array, types.intp, row), codegen

    @intrinsic
    def fill(typing: Any, number: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return pack(builder, [_spread(builder, args[0])] * vectors)

        return row(types.float32), codegen

    @intrinsic
    def add_scaled(typing: Any, base: Any, factor: Any, other: Any) -> Any:
        def operation(builder: Any, base: Any, factor: Any, other: Any) -> Any:
            return builder.fadd(builder.fmul(factor, other, _FLAGS), base, _FLAGS)

        return row(row, types.float32, row), each(operation, row, types.float32, row)

    @intrinsic
    def differ(typing: Any, first: Any, second: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pairs = zip(parts(builder, args[0]), parts(builder, args[1]), strict=True)
            flags = functools.reduce(builder.or_, [builder.fcmp_unordered("!=", *pair) for pair in pairs])
            return builder.icmp_unsigned("!=", builder.bitcast(flags, ir.IntType(LANES)), ir.Constant(ir.IntType(8), 0))

        return types.boolean(row, row), codegen

    @intrinsic
    def count_above(typing: Any, first: Any, second: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pairs = zip(parts(builder, args[0]), parts(builder, args[1]), strict=True)
            ones = [builder.sext(builder.fcmp_ordered(">", *pair), _INTS) for pair in pairs]
            lanes = builder.neg(functools.reduce(builder.add, ones))
            return builder.sext(_reduce(builder, lanes, builder.add), ir.IntType(64))

        return types.int64(row, row), codegen

    @intrinsic
    def miss(typing: Any, missed: Any, value: Any, threshold: Any) -> Any:
        def operation(builder: Any, missed: Any, value: Any, threshold: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", value, threshold), missed, _constant(1.0))

        return row(row, row, row), each(operation, row, row, row)

    @intrinsic
    def total(typing: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = functools.reduce(builder.fadd, parts(builder, args[0]))
            return builder.fpext(_reduce(builder, lanes, builder.fadd), _DOUBLE)

        return types.float64(row), codegen

    @intrinsic
    def compound(typing: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def both(first: Any, second: Any) -> Any:
                product = builder.fadd(builder.fmul(first, second, _FLAGS), second, _FLAGS)
                return builder.fadd(first, product, _FLAGS)

            lanes = functools.reduce(both, parts(builder, args[0]))
            return _reduce(builder, builder.fpext(lanes, ir.VectorType(_DOUBLE, LANES)), both)

        return types.float64(row), codegen

    def magnitude(builder: Any, x: Any) -> Any:
        bits = builder.and_(builder.bitcast(x, _INTS), _constant(0x7FFFFFFF, _INTS))
        return builder.bitcast(bits, _VECTOR)

    return Rows(
        load=load,
        store=store,
        fill=fill,
        add=binary(lambda builder, a, b: builder.fadd(a, b, _FLAGS)),
        subtract=binary(lambda builder, a, b: builder.fsub(a, b, _FLAGS)),
        multiply=binary(lambda builder, a, b: builder.fmul(a, b, _FLAGS)),
        larger=binary(_larger),
        at_least=binary(_larger, types.float32),
        add_scaled=add_scaled,
        magnitude=unary(magnitude),
        exp=unary(_exp),
        differ=differ,
        count_above=count_above,
        miss=miss,
        total=total,
        compound=compound,
    )


def _scalar(kind: Any, element: Any) -> tuple[Any, Any]:
    """Return functions that read and write a number at an index of a float32 array, without bounds checks."""

    @intrinsic
    def read(typing: Any, array: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _load(builder, _address(context, builder, signature.args[0], args[0], args[1], element))

        return kind(array, types.intp), codegen

    @intrinsic
    def write(typing: Any, array: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _store(builder, args[2], _address(context, builder, signature.args[0], args[0], args[1], element))
            return context.get_dummy_value()

        return types.void(array, types.intp, kind), codegen

    return read, write


read_single, write_single = _scalar(types.float32, _FLOAT)
read_double, write_double = _scalar(types.float64, _DOUBLE)  # two elements of the array
read_bits, write_bits = _scalar(types.int64, ir.IntType(64))  # two elements of the array
