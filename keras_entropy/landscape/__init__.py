"""The entropy of parameter space: how much of it has a certain loss or accuracy, by Wang-Landau sampling [B].

[B] Zhang: "Entropy and generalization of a neural network's parameter space".
"""

from keras_entropy.landscape.axis import Axis
from keras_entropy.landscape.pipeline import Progress, density_of_states
from keras_entropy.landscape.problems.keras_model import keras_problem
from keras_entropy.landscape.problems.network import network_problem
from keras_entropy.landscape.problems.problem import (
    Observable,
    Problem,
    ball_problem,
    function_problem,
    perceptron_problem,
)
from keras_entropy.landscape.result import DensityOfStates
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
