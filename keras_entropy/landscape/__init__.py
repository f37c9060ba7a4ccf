"""The entropy of parameter space: how much of it has a certain loss or accuracy, by Wang-Landau sampling.

Sources:
    Wang, Landau (2001): Efficient, multiple-range random walk algorithm to calculate the density of states.
    Belardinelli, Pereyra (2007): Fast algorithm to calculate density of states.
    Zhang (2021): Correlation between entropy and generalizability in a neural network.
"""

from keras_entropy.landscape.axis import Axis
from keras_entropy.landscape.densities import densities_of_states
from keras_entropy.landscape.densities_result import DensitiesOfStates, FailedWalk, WalkSummary
from keras_entropy.landscape.pipeline import Progress, density_of_states
from keras_entropy.landscape.problems.exact_problems import ball_problem, perceptron_problem
from keras_entropy.landscape.problems.fan_in import fan_in_half_widths
from keras_entropy.landscape.problems.function import discrete_problem, function_problem
from keras_entropy.landscape.problems.keras_model import keras_problem
from keras_entropy.landscape.problems.network import network_problem
from keras_entropy.landscape.problems.problem import Observable, Problem
from keras_entropy.landscape.published_schedule import zhang_schedule
from keras_entropy.landscape.result import ConditionalMean, DensityOfStates
from keras_entropy.landscape.set_averages import GroupDifference, GroupSummary, MeanOverSets

__all__ = [
    "Axis",
    "ConditionalMean",
    "DensitiesOfStates",
    "DensityOfStates",
    "FailedWalk",
    "GroupDifference",
    "GroupSummary",
    "MeanOverSets",
    "Observable",
    "Problem",
    "Progress",
    "WalkSummary",
    "ball_problem",
    "densities_of_states",
    "density_of_states",
    "discrete_problem",
    "fan_in_half_widths",
    "function_problem",
    "keras_problem",
    "network_problem",
    "perceptron_problem",
    "zhang_schedule",
]
