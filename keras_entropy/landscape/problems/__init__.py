"""The problems whose parameter space is sampled: a box of parameters, and observables in it."""
