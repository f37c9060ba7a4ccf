"""The kernel of a fully connected ReLU network."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from keras_entropy.landscape.kernels.kernel import Kernel
from keras_entropy.landscape.kernels.network_layers import STATE, Blocks, Shape, label_rows, point_functions
from keras_entropy.landscape.kernels.simd_rows import inlined, read_double, read_single, write_double, write_single

OBSERVABLES = ("train_loss", "train_accuracy", "test_accuracy")


@functools.cache
def network_kernel(  # noqa: PLR0915 - one closure per operation
    inputs: int,
    depth: int,
    width: int,
    outputs: int,
    points_train: int,
    points_test: int,
    *,
    final_relu: bool = False,
    ties: str = "wrong",
    per_move: tuple[str, ...] = ("train_accuracy",),
    reduction: str = "mean",
) -> Kernel:
    """Compile the kernel of a network of these sizes.

    Args:
        inputs: Integer. Number of inputs.
        depth: Integer. Number of hidden layers.
        width: Integer. Number of units of each hidden layer.
        outputs: Integer. Number of output units, at least 2.
        points_train: Integer. Number of training points.
        points_test: Integer. Number of test points; may be 0.
        final_relu: Boolean. Whether the output layer has a ReLU too. Defaults to False.
        ties: String. "wrong" if the output of the label must be larger than all others, "first" if the first of equal
            outputs wins. Defaults to "wrong".
        per_move: One or two names of observables, in the order of the axes.
        reduction: String. Whether the loss is the "mean" or the "sum" over the points. Defaults to "mean".

    Returns:
        A `Kernel`, with `prepare(train, train_labels, test, test_labels, strength)`.
    """
    shape = Shape(inputs, depth, width, outputs, final_relu, ties)
    train, test = Blocks.of(max(points_train, 1)), Blocks.of(max(points_test, 1))
    on_train, on_test = point_functions(shape, train), point_functions(shape, test)
    load_train, change_train, commit_train = on_train.load, on_train.change, on_train.commit
    load_test, change_test, commit_test = on_test.load, on_test.change, on_test.commit
    correct_train, correct_test, loss_train = on_train.correct, on_test.correct, on_train.loss
    dimension = shape.dimension()
    state = -(-dimension // 16) * 16
    region_train = np.int64(state + STATE)  # not a compile-time constant, so that both sets can share functions
    region_test = region_train + on_train.words
    words = int(-(-(region_test + on_test.words) // 16) * 16)
    hold_train = any(name.startswith("train") for name in per_move)
    hold_test = "test_accuracy" in per_move
    hold_loss, hold_correct = "train_loss" in per_move, "train_accuracy" in per_move
    first, second = (OBSERVABLES.index(name) for name in (per_move * 2)[:2])
    single = len(per_move) == 1
    scale = 1.0 / points_train if reduction == "mean" else 1.0
    # The elements of state: whether the proposal changes a logit, then float64 numbers, each current and proposed.
    changed_train, changed_test = state, state + 1
    norm, losses, train_correct, test_correct = state + 2, state + 6, state + 10, state + 14

    @inlined
    def select(values: Any) -> Any:
        return values[first], (0.0 if single else values[second])

    @njit(error_model="numpy")
    def load(parameters: Any, data: Any, work: Any) -> Any:
        square = 0.0
        for i in range(dimension):
            write_single(work, i, np.float32(parameters[i]))
            square += parameters[i] * parameters[i]
        write_double(work, norm, square)
        a = b = c = 0.0
        if hold_train:
            load_train(work, region_train, data[0])
        if hold_loss:
            a = loss_train(work, region_train, data[1], False)
            write_double(work, losses, a)
            a = a * scale + (data[4] * square if data[4] != 0.0 else 0.0)
        if hold_correct:
            b = float(correct_train(work, region_train, data[1], False))
            write_double(work, train_correct, b)
        if hold_test:
            load_test(work, region_test, data[2])
            c = float(correct_test(work, region_test, data[3], False))
            write_double(work, test_correct, c)
        return select((a, b, c))

    @njit(error_model="numpy", forceinline=True)
    def propose(work: Any, data: Any, parameters: Any, i: int, new: float) -> Any:
        step = np.float32(new) - read_single(work, i)
        a = b = c = 0.0
        if hold_train:
            changed = change_train(work, region_train, i, step)
            write_single(work, changed_train, np.float32(changed))
            if hold_loss:
                a = loss_train(work, region_train, data[1], True) if changed else read_double(work, losses)
                write_double(work, losses + 2, a)
                a *= scale
            if hold_correct:
                if changed:
                    b = float(correct_train(work, region_train, data[1], True))
                else:
                    b = read_double(work, train_correct)
                write_double(work, train_correct + 2, b)
        if hold_test:
            changed = change_test(work, region_test, i, step)
            write_single(work, changed_test, np.float32(changed))
            c = float(correct_test(work, region_test, data[3], True)) if changed else read_double(work, test_correct)
            write_double(work, test_correct + 2, c)
        if hold_loss and data[4] != 0.0:
            square = read_double(work, norm) + (new - parameters[i]) * (new + parameters[i])
            write_double(work, norm + 2, square)
            a += data[4] * square
        return select((a, b, c))

    @njit(error_model="numpy", forceinline=True)
    def accept(work: Any, data: Any, parameters: Any, i: int, new: float) -> None:
        write_single(work, i, np.float32(new))
        if hold_train:
            commit_train(work, region_train, i, read_single(work, changed_train) != 0)
            if hold_loss:
                write_double(work, losses, read_double(work, losses + 2))
                if data[4] != 0.0:
                    write_double(work, norm, read_double(work, norm + 2))
            if hold_correct:
                write_double(work, train_correct, read_double(work, train_correct + 2))
        if hold_test:
            commit_test(work, region_test, i, read_single(work, changed_test) != 0)
            write_double(work, test_correct, read_double(work, test_correct + 2))

    @njit(error_model="numpy")
    def observe(work: Any, data: Any, parameters: Any) -> Any:
        if not hold_train:
            load_train(work, region_train, data[0])
        if not hold_test:
            load_test(work, region_test, data[2])
        a = (read_double(work, losses) if hold_loss else loss_train(work, region_train, data[1], False)) * scale
        if data[4] != 0.0:
            square = 0.0
            for i in range(dimension):
                square += parameters[i] * parameters[i]
            a += data[4] * square
        if hold_correct:
            b = read_double(work, train_correct)
        else:
            b = float(correct_train(work, region_train, data[1], False))
        c = read_double(work, test_correct) if hold_test else float(correct_test(work, region_test, data[3], False))
        return a, b, c

    def prepare(
        points: ArrayLike,
        labels: ArrayLike,
        test_points: ArrayLike = (),
        test_labels: ArrayLike = (),
        strength: float = 0.0,
    ) -> tuple[Any, ...]:
        data: list[Any] = []
        for blocks, count, values, targets in (
            (train, points_train, points, labels),
            (test, points_test, test_points, test_labels),
        ):
            table = np.asarray(values, np.float64).reshape(count, inputs)
            classes = np.asarray(targets).reshape(count).astype(np.int64)
            sized = blocks._replace(points=count)
            data += [sized.spread(table, 0.0), label_rows(shape, sized, classes)]
        return (*data, float(strength))

    return Kernel(dimension, words, np.float32, OBSERVABLES, prepare, load, propose, accept, observe)
