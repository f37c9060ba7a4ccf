"""The entropy of parameter space: how much of it has a certain loss or accuracy, by Wang-Landau sampling [B].

[B] Zhang: "Entropy and generalization of a neural network's parameter space".
"""

from keras_entropy import _optional

_optional.require("numba", extra="landscape")

from keras_entropy.landscape.axes import Axis
from keras_entropy.landscape.density import DensityOfStates
from keras_entropy.landscape.estimation import Progress, density_of_states
from keras_entropy.landscape.keras_models import keras_problem
from keras_entropy.landscape.networks import network_problem
from keras_entropy.landscape.problems import (
    Observable,
    Problem,
    ball_problem,
    function_problem,
    perceptron_problem,
)
from keras_entropy.landscape.zhang_schedule import zhang_schedule

__all__ = [
    "Axis",
    "DensityOfStates",
    "Observable",
    "Problem",
    "Progress",
    "ball_problem",
    "density_of_states",
    "function_problem",
    "keras_problem",
    "network_problem",
    "perceptron_problem",
    "zhang_schedule",
]
