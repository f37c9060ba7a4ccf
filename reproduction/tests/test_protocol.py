"""What a small protocol has less of than the paper's."""

import dataclasses

import pytest

from reproduction import autoencoders, classifiers, photographs, protocol

pytestmark = pytest.mark.once


def test_the_paper_protocol_has_nothing_reduced():
    for case in autoencoders.CASES.values():
        assert protocol.differences(case.full, case.full) == ()
        assert len(protocol.differences(case.small, case.full)) >= 7
    assert protocol.differences(classifiers.FULL, classifiers.FULL) == ()
    assert protocol.own_choices(classifiers.FULL).startswith("Our choices, which the paper leaves open: further")


def test_what_is_less_is_found_by_comparing():
    assert protocol.differences(photographs.FULL, photographs.FULL) == ()
    less = protocol.differences(dataclasses.replace(photographs.FULL, images=5, factors=(1.0,)), photographs.FULL)
    assert less == (
        "Values of lambda besides 0: 1, not 0.0001; 0.001; 0.01; 0.1; 1; 10.",
        "Training images at most: 5, not all.",
    )
