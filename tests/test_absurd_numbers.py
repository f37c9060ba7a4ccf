"""Numbers that need terabytes, and labels that are no classes, raise an error before memory is taken."""

import numpy as np
import pytest

from keras_entropy import ConvEntropy, SemiSupervisedCrossentropy, ViewEntropy, functional, landscape
from keras_entropy.landscape import Axis, Observable
from keras_entropy.landscape.axis import bins_of

pytestmark = pytest.mark.once

X, Y = np.ones((4, 2)), np.array([0, 1, 2, 3])
HUGE = 10**12


def network(labels=Y, depth=1, width=2):
    return landscape.network_problem(depth, width, (X, labels, X, Y))


def density(**arguments):
    return landscape.density_of_states(network(), moves=1e3, **arguments)


@pytest.mark.parametrize("largest", [HUGE, 1000, 2**31])
def test_a_label_far_beyond_the_points_is_no_class(largest):
    with pytest.raises(ValueError, match=rf"label {largest} for 8 points.*Number the classes"):
        network(np.array([0, 1, 2, largest]))


def test_a_label_below_a_thousand_may_be_a_class():
    assert network(np.array([0, 1, 2, 999])).dimension == 3 * 2 + 3 * 1000


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: network(width=HUGE), "width"),
        (lambda: network(depth=HUGE), "depth"),
        (lambda: landscape.ball_problem(10**14), "dimension"),
        (lambda: landscape.function_problem(lambda c: {"v": c[0]}, 10**14, 1.0, {"v": Observable()}), "dimension"),
        (lambda: density(walkers=HUGE), "walkers"),
        (lambda: density(particles=HUGE), "particles"),
        (lambda: bins_of([Axis("a", np.arange(10**6)), Axis("b", np.arange(10**6))]), "edges"),
        (lambda: functional.conv_log_volume(np.ones((3, 3, 1, 1)), grid=10**6), "grid"),
        (lambda: functional.total_correlation(np.ones((3, 3, 1, 1)), grid=10**6), "grid"),
        (lambda: ConvEntropy(1.0, grid=10**6)(np.ones((3, 3, 1, 1))), "grid"),
        (lambda: ConvEntropy(1.0, dilation=2**40)(np.ones((3, 1, 1))), "grid"),
    ],
)
def test_what_needs_terabytes_is_refused(call, argument):
    with pytest.raises(ValueError, match=rf"`{argument}` should be small enough for the memory.*GB or more"):
        call()


@pytest.mark.parametrize("moves", [0, -1, 0.5, 1e19, 1e30, 10**400, np.inf, np.nan])
def test_moves_that_cannot_be_counted_are_refused(moves):
    with pytest.raises(ValueError, match="`moves` should be"):
        landscape.density_of_states(network(), moves=moves)


def test_a_weight_of_a_loss_that_float32_does_not_hold_is_refused():
    for make in (lambda: ViewEntropy(1e300), lambda: SemiSupervisedCrossentropy(unlabelled_weight=-1e39)):
        with pytest.raises(ValueError, match="as float32 holds"):
            make()
