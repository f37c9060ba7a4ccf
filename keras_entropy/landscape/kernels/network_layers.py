"""The layers of a small network on one set of points, stored so that a change of one parameter is cheap to evaluate.

The scratch array of a walker begins with the parameters in float32 and a few numbers of state. A region follows for
each set of points: 64 bits and two halves. The bits say for each layer which half has the current pre-activations; the
other half takes the proposed ones. A half consists of blocks of points. A block has one row for each unit, a row of
ones (the input of the biases) and the rows of the inputs. Accepting a proposal copies one row and flips bits.

float32 fits twice as many points in a vector as float64, and is precise enough for logits: loading the parameters again
removes the rounding errors of accepted changes.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_entropy.landscape.kernels.simd_rows import LANES, inlined, inner, read_bits, read_single, rows, write_bits

STATE = 32  # elements of state after the parameters
_MAX_VECTORS = 6  # of a row, so that it stays in registers


class Shape(NamedTuple):
    """Sizes of a network, its output activation, and how ties are classified."""

    inputs: int
    depth: int
    width: int
    outputs: int
    final_relu: bool
    ties: str

    def layers(self) -> list[tuple[int, int]]:
        """Return the inputs and the units of each layer."""
        sizes = [self.inputs, *[self.width] * self.depth, self.outputs]
        return list(itertools.pairwise(sizes))

    def dimension(self) -> int:
        """Return the number of parameters."""
        return sum(n * m + m for n, m in self.layers())

    def units(self) -> int:
        """Return the number of units of all layers."""
        return self.depth * self.width + self.outputs


class Blocks(NamedTuple):
    """The division of points into blocks of equal, padded size."""

    points: int
    blocks: int
    lanes: int

    @classmethod
    def of(cls, points: int) -> Blocks:
        """Return the smallest number of blocks whose rows stay in registers."""
        vectors = -(-points // LANES)
        count = -(-vectors // _MAX_VECTORS)
        return cls(points, count, -(-vectors // count) * LANES)

    def spread(self, table: NDArray[Any], padding: float) -> NDArray[np.float32]:
        """Return a table (points, n) as (blocks, n, lanes), flattened."""
        padded = np.full((self.blocks * self.lanes, table.shape[1]), padding, np.float32)
        padded[: self.points] = table
        return np.ascontiguousarray(padded.reshape(self.blocks, self.lanes, -1).transpose(0, 2, 1)).ravel()


class PointFunctions(NamedTuple):
    """Compiled functions for one set of points, whose region begins at index `region` of the scratch array."""

    words: int
    load: Any  # (work, region, points): evaluate all layers, as current ones
    change: Any  # (work, region, i, step) -> whether a logit changes; writes the proposed rows
    commit: Any  # (work, region, i, changed): make the proposed rows current
    correct: Any  # (work, region, labels, proposed) -> number of points that are classified correctly
    loss: Any  # (work, region, labels, proposed) -> sum of the cross-entropies, nats


def label_rows(shape: Shape, blocks: Blocks, labels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the rows for `correct` and `loss`: signs or one-hot labels, thresholds and weights of the points."""
    above = 0.0 if shape.ties == "wrong" else -float(np.finfo(np.float32).smallest_subnormal)
    weight = np.ones((len(labels), 1))
    if shape.outputs == 2:
        sign = np.where(labels == 1, 1.0, -1.0)[:, None]
        threshold = np.where(labels == 1, 0.0, above)[:, None]
        columns = [sign, threshold, weight]
    else:
        order = np.arange(shape.outputs)[None, :]
        right = order == labels[:, None]
        threshold = np.where(right, -1.0, np.where(order < labels[:, None], 0.0, above))
        columns = [right.astype(float), threshold, weight]
    table = np.concatenate(columns, axis=1)
    spread = blocks.spread(table, 0.0).reshape(blocks.blocks, table.shape[1], blocks.lanes)
    padding = np.arange(blocks.blocks * blocks.lanes).reshape(blocks.blocks, blocks.lanes) >= blocks.points
    first = columns[0].shape[1]
    for row in range(first, table.shape[1] - 1):
        spread[:, row][padding] = np.inf
    return spread.ravel()


def _tables(shape: Shape, lanes: int) -> NDArray[np.int32]:
    """Return for each parameter its layer, the rows of its source and its unit, and the first outgoing weight."""
    table, at = [], 0
    ones = shape.units()
    for layer, (n, m) in enumerate(shape.layers()):
        first = ones + 1 if layer == 0 else (layer - 1) * shape.width
        following = at + n * m + m
        width = shape.layers()[layer + 1][1] if layer < shape.depth else 0
        for source in [first + q for q in range(n)] + [ones]:
            table += [
                (layer, source * lanes, (layer * shape.width + j) * lanes, following + j * width) for j in range(m)
            ]
        at = following
    return np.array(table, np.int32)


@inlined
def log_of_sum(x: float) -> float:
    """Return log(1 + x) for x >= 0, precise for small x and faster than `log1p`."""
    y = 1.0 + x
    return math.log(y) + (x - (y - 1.0)) / y


@functools.cache
def point_functions(shape: Shape, blocks: Blocks) -> PointFunctions:  # noqa: PLR0915 - one closure per operation
    """Return the functions for these sizes, which are compile-time constants."""
    inputs, depth, width, outputs, final_relu = shape.inputs, shape.depth, shape.width, shape.outputs, shape.final_relu
    layers = depth
    block_count, lanes = blocks.blocks, blocks.lanes
    row = rows(lanes // LANES)
    load_row, store_row, fill, at_least, add_scaled = row.load, row.store, row.fill, row.at_least, row.add_scaled
    subtract, add, multiply, larger, magnitude = row.subtract, row.add, row.multiply, row.larger, row.magnitude
    differ, exp, count_above, total, compound = row.differ, row.exp, row.count_above, row.total, row.compound
    miss = row.miss
    units = shape.units()
    size = (units + 1 + inputs) * lanes  # of a block
    proposal = block_count * size  # offset from the current rows to the proposed ones
    table = _tables(shape, lanes)
    first_output = depth * width * lanes
    head = LANES * 2  # elements before the first half, for the bits
    zero, one, lowest = np.float32(0), np.float32(1), np.float32(-np.inf)
    output_floor = zero if final_relu else lowest
    padded = block_count * lanes != blocks.points
    two, label_count = outputs == 2, 3 if outputs == 2 else 2 * outputs + 1
    first_layer = inputs * width + width
    inner_layer = width * width + width

    def layer_function(n: int, m: int) -> Any:
        """Evaluate a layer, two units at a time, from rows at `source`, at least `floor`, to rows at `target`."""

        @inlined
        def whole(work: Any, weights: int, source: int, target: int, floor: Any) -> None:
            for k in range(0, m - 1, 2):
                first = fill(read_single(work, weights + n * m + k))
                second = fill(read_single(work, weights + n * m + k + 1))
                for q in range(n):
                    values = at_least(load_row(work, source + q * lanes), floor)
                    first = add_scaled(first, read_single(work, weights + q * m + k), values)
                    second = add_scaled(second, read_single(work, weights + q * m + k + 1), values)
                store_row(work, target + k * lanes, first)
                store_row(work, target + (k + 1) * lanes, second)
            if m % 2:
                first = fill(read_single(work, weights + n * m + m - 1))
                for q in range(n):
                    values = at_least(load_row(work, source + q * lanes), floor)
                    first = add_scaled(first, read_single(work, weights + q * m + m - 1), values)
                store_row(work, target + (m - 1) * lanes, first)

        return whole

    whole_first = layer_function(inputs, width)
    whole_inner = layer_function(width, width)
    whole_last = layer_function(width, outputs)

    @inner
    def load(work: Any, region: int, points: Any) -> None:
        write_bits(work, region, 0)
        for block in range(block_count):
            base = region + head + block * size
            store_row(work, base + units * lanes, fill(one))
            store_row(work, base + proposal + units * lanes, fill(one))
            for q in range(inputs):
                values = load_row(points, (block * inputs + q) * lanes)
                store_row(work, base + (units + 1 + q) * lanes, values)
            whole_first(work, 0, base + (units + 1) * lanes, base, lowest)
            weights = first_layer
            for layer in range(1, depth):
                whole_inner(work, weights, base + (layer - 1) * width * lanes, base + layer * width * lanes, zero)
                weights += inner_layer
            whole_last(work, weights, base + (depth - 1) * width * lanes, base + first_output, zero)

    @inlined
    def half(halves: int, layer: int) -> int:
        """Return where the current half of a layer begins."""
        return ((halves >> layer) & 1) * proposal

    @inlined
    def spread_change(work: Any, weights: int, m: int, source: int, target: int, delta: Any) -> None:
        """Update the units of the next layer after a change of one activation."""
        for k in range(m):
            values = add_scaled(load_row(work, source + k * lanes), read_single(work, weights + k), delta)
            store_row(work, target + k * lanes, values)

    @inlined
    def change(work: Any, region: int, i: int, step: Any) -> bool:
        layer, source, unit = table[i, 0], table[i, 1], table[i, 2]
        floor_in = lowest if layer == 0 else zero
        floor_out = output_floor if layer == layers else zero
        halves = read_bits(work, region)
        below, here, above = half(halves, layer - 1) if layer else 0, half(halves, layer), half(halves, layer + 1)
        old_row, new_row = here + unit, proposal - here + unit
        changed = False
        for block in range(block_count):
            base = region + head + block * size
            old = load_row(work, base + old_row)
            new = add_scaled(old, step, at_least(load_row(work, base + below + source), floor_in))
            store_row(work, base + new_row, new)
            changed |= differ(at_least(new, floor_out), at_least(old, floor_out))
        if not changed:
            return False
        for block in range(block_count):
            base = region + head + block * size
            if layer == layers:
                for at in range(first_output, first_output + outputs * lanes, lanes):
                    if at != unit:
                        store_row(work, base + proposal - here + at, load_row(work, base + here + at))
                continue
            weights = table[i, 3]
            delta = subtract(
                at_least(load_row(work, base + new_row), zero), at_least(load_row(work, base + old_row), zero)
            )
            old_at = base + above + (layer + 1) * width * lanes
            new_at = old_at + proposal - 2 * above
            if layer + 1 == layers:
                spread_change(work, weights, outputs, old_at, new_at, delta)
                continue
            spread_change(work, weights, width, old_at, new_at, delta)
            weights = first_layer + (layer + 1) * inner_layer
            for following in range(layer + 2, depth):
                source = new_at
                new_at = base + proposal - half(halves, following) + following * width * lanes
                whole_inner(work, weights, source, new_at, zero)
                weights += inner_layer
            last_at = base + proposal - half(halves, layers) + first_output
            whole_last(work, weights, new_at, last_at, zero)
        return True

    @inlined
    def commit(work: Any, region: int, i: int, changed: bool) -> None:
        halves, layer, unit = read_bits(work, region), table[i, 0], table[i, 2]
        here = half(halves, layer)
        if changed and layer == layers:
            write_bits(work, region, halves ^ (1 << layers))
            return
        for block in range(block_count):
            base = region + head + block * size
            store_row(work, base + here + unit, load_row(work, base + proposal - here + unit))
        if changed:
            write_bits(work, region, halves ^ ((2 << layers) - (2 << layer)))

    @inlined
    def correct(work: Any, region: int, labels: Any, proposed: bool) -> int:
        found = 0
        start = half(read_bits(work, region), layers)
        start = region + head + first_output + (proposal - start if proposed else start)
        for block in range(block_count):
            base = start + block * size
            at = block * label_count * lanes
            first = at_least(load_row(work, base), output_floor)
            if two:
                margin = subtract(at_least(load_row(work, base + lanes), output_floor), first)
                found += count_above(multiply(margin, load_row(labels, at)), load_row(labels, at + lanes))
            else:
                right = multiply(first, load_row(labels, at))
                for k in range(1, outputs):
                    values = at_least(load_row(work, base + k * lanes), output_floor)
                    right = add(right, multiply(values, load_row(labels, at + k * lanes)))
                missed = fill(zero)
                for k in range(outputs):
                    values = at_least(load_row(work, base + k * lanes), output_floor)
                    missed = miss(missed, subtract(right, values), load_row(labels, at + (outputs + k) * lanes))
                found += count_above(fill(one), missed)
        return found

    @inlined
    def loss(work: Any, region: int, labels: Any, proposed: bool) -> float:
        result = 0.0
        start = half(read_bits(work, region), layers)
        start = region + head + first_output + (proposal - start if proposed else start)
        for block in range(block_count):
            base = start + block * size
            at = block * label_count * lanes
            first = at_least(load_row(work, base), output_floor)
            if two:
                gap = subtract(first, at_least(load_row(work, base + lanes), output_floor))
                gap = multiply(gap, load_row(labels, at))
                excess = at_least(gap, zero)
                rest = exp(subtract(fill(zero), magnitude(gap)))
            else:
                right = multiply(first, load_row(labels, at))
                for k in range(1, outputs):
                    values = at_least(load_row(work, base + k * lanes), output_floor)
                    right = add(right, multiply(values, load_row(labels, at + k * lanes)))
                excess = fill(zero)
                for k in range(outputs):
                    excess = larger(excess, subtract(at_least(load_row(work, base + k * lanes), output_floor), right))
                shift = add(excess, right)
                rest = subtract(exp(subtract(fill(zero), excess)), fill(one))
                for k in range(outputs):
                    values = subtract(at_least(load_row(work, base + k * lanes), output_floor), shift)
                    wrong = subtract(fill(one), load_row(labels, at + k * lanes))
                    rest = add(rest, multiply(exp(values), wrong))
            if padded:
                weight = load_row(labels, at + (label_count - 1) * lanes)
                excess, rest = multiply(excess, weight), multiply(rest, weight)
            result += total(excess) + log_of_sum(compound(rest))
        return result

    return PointFunctions(head + 2 * proposal, load, change, commit, correct, loss)
