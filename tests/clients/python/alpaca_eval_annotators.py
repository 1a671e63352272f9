"""AlpacaEval's annotators: the weighted one, which is its default, and the one that reads a ranking.

The packages for data sets and statistics are stand-ins, but for what reads probabilities and versions."""

import importlib.metadata
import sys

import numpy
from absent import stand_in

stand_in("datasets", "pkg_resources", "patsy", "sklearn", "sklearn.model_selection", "sklearn.metrics")
stand_in("sklearn.linear_model", "scipy", "scipy.stats", "scipy.special")
sys.modules["pkg_resources"].get_distribution = importlib.metadata.distribution
sys.modules["scipy.special"].logsumexp = lambda values: numpy.log(numpy.sum(numpy.exp(values)))
import alpaca_eval.annotators  # noqa: E402

COLOURS = ("red", "green", "blue", "orange", "purple")
SHAPES = ("circle", "cross", "star", "square", "triangle")
PAIRS = [
    {"instruction": f"Colour of the {shape}, {colour} or not?", "output_1": f"It is {colour}.", "output_2": "No idea."}
    for shape in SHAPES
    for colour in COLOURS
] * 2


def annotator(name, base_url, tmp_path):
    # Where the server is stands in a file, as its documentation recommends.
    clients = tmp_path / "clients.yaml"
    clients.write_text(f"default:\n  - api_key: any\n    base_url: {base_url}\n")
    made = alpaca_eval.annotators.PairwiseAnnotator(annotators_config=name, caching_path=None, seed=0)
    for single in made.annotators.values():
        single.completions_kwargs["client_config_path"] = str(clients)
    return made


def preferences(name, pairs, base_url, tmp_path):
    annotated = annotator(name, base_url, tmp_path).annotate_pairs(pairs)
    found = {(row["instruction"], row["output_1"]): row["preference"] for row in annotated}
    return [found[pair["instruction"], pair["output_1"]] for pair in pairs]


def test_the_weighted_annotator(base_url, tmp_path):
    name = "weighted_alpaca_eval_gpt4_turbo"
    found = preferences(name, PAIRS, base_url, tmp_path)
    assert len(found) == 50 and all(value is not None and 1 <= value <= 2 for value in found)
    assert len(set(found)) > 10, "they are read from probabilities, not from labels"
    assert preferences(name, PAIRS[:5], base_url, tmp_path) == found[:5]


def test_the_annotator_by_a_list(base_url, tmp_path):
    found = preferences("alpaca_eval_gpt4", PAIRS, base_url, tmp_path)
    assert all(value in (1, 2) for value in found)
