"""The search of Yarally et al.: the most probable improvement of 10,000 candidates."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from greenbatch.design.search_space import Dimension, parse_space
from greenbatch.runners.training.parent import improvement

pytestmark = pytest.mark.numeric

SPACE = parse_space(
    {
        "learning_rate": {"low": 1e-5, "high": 0.1, "steps": 5, "open": True},
        "momentum": {"low": 0.1, "high": 1, "steps": 5, "open": True},
    }
)


def test_a_candidate_is_as_probably_better_as_the_published_code_finds_it() -> None:
    draw = np.random.default_rng(1)
    points, figures = draw.random((12, 2)) * [0.1, 1], draw.random(12)
    candidates = draw.random((30, 2)) * [0.1, 1]
    kernel = RBF(1.0, "fixed")  # the published code's, as scikit-learn 0.24 had it
    process = GaussianProcessRegressor(kernel).fit(points, figures)
    expected = []
    for candidate in candidates:  # one by one, as there
        mean, deviation = process.predict([candidate], return_std=True)
        expected.append(float(norm.cdf((mean[0] - figures.max()) / (deviation[0] + 1e-9))))
    found = improvement.improvement(points.tolist(), figures.tolist(), candidates.tolist())
    assert found == pytest.approx(expected, abs=1e-6)
    assert max(found) > 10 * min(found)


def test_it_goes_where_the_figures_rise_and_where_they_fall() -> None:
    tried = [({"learning_rate": "0.05", "momentum": f"{0.1 * i}"}, 0.1 * i) for i in range(1, 8)]
    up = improvement.propose(SPACE, tried, 3, rises=True)
    down = improvement.propose(SPACE, tried, 3, rises=False)
    assert float(up["momentum"]) > 0.7
    assert float(down["momentum"]) < 0.15


def test_the_first_point_is_random_and_the_seed_makes_every_one() -> None:
    first = [improvement.propose(SPACE, [], seed, rises=True) for seed in (1, 1, 2)]
    assert first[0] == first[1] != first[2]
    for point in first:
        assert 1e-5 <= float(point["learning_rate"]) < 0.1
        assert 0.1 <= float(point["momentum"]) < 1


def test_points_that_are_the_same_are_borne() -> None:
    tried = [({"learning_rate": "0.05", "momentum": "0.5"}, figure) for figure in (0.1, 0.9, 0.4)]
    point = improvement.propose(SPACE, tried * 20, 3, rises=True)
    assert set(point) == {"learning_rate", "momentum"}


def test_choices_whole_numbers_and_logarithms_are_drawn_within_them() -> None:
    space = parse_space(
        {
            "relu": [0, 1],
            "conv_layers": {"low": 1, "high": 3, "whole": True},
            "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
        }
    )
    points = [improvement.propose(space, [], seed, rises=True) for seed in range(200)]
    assert {point["relu"] for point in points} == {"0", "1"}
    assert {point["conv_layers"] for point in points} == {"1", "2", "3"}
    rates = [math.log10(float(point["learning_rate"])) for point in points]
    assert -4 <= min(rates) < -3.9 < -2.6 < np.mean(rates) < -2.4 < -1.1 < max(rates) <= -1
    tried = [(point, float(point["relu"])) for point in points[:10]]
    assert improvement.propose(space, tried, 1, rises=True)["relu"] == "1"


def test_the_grid_of_an_open_range_is_that_of_the_published_code() -> None:
    (rate, momentum) = SPACE
    for each in (rate, momentum):
        expected = [each.low + i * (each.high - each.low) / 5 for i in range(5)]
        assert [float(text) for text in each.grid()] == pytest.approx(expected, rel=1e-5)
    last = Dimension("x", low=0.1, high=1.0, open=True)
    assert float(last.text(1.0)) < 1
    assert float(last.examples()[1]) < 1
