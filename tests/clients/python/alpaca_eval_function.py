"""AlpacaEval's annotator that makes the judge call a function: its arguments are always what the function takes.

Whether the names in them are those of the two models is the critic's affair, which the schema leaves open.

The packages for data sets and statistics are stand-ins, but for what reads versions."""

import importlib.metadata
import sys

from absent import stand_in

stand_in("datasets", "pkg_resources", "patsy", "sklearn", "sklearn.model_selection", "sklearn.metrics")
stand_in("sklearn.linear_model", "scipy", "scipy.stats", "scipy.special")
sys.modules["pkg_resources"].get_distribution = importlib.metadata.distribution
import yaml  # noqa: E402
from alpaca_eval import completion_parsers  # noqa: E402
from alpaca_eval.constants import EVALUATORS_CONFIG_DIR  # noqa: E402
from alpaca_eval.decoders.openai import openai_completions  # noqa: E402

NAME = "alpaca_eval_gpt4_turbo_fn"
COLOURS = ("red", "green", "blue", "orange", "purple")


def test_every_answer_is_a_call_of_the_function(base_url, tmp_path):
    clients = tmp_path / "clients.yaml"
    clients.write_text(f"default:\n  - api_key: any\n    base_url: {base_url}\n")
    config = yaml.safe_load((EVALUATORS_CONFIG_DIR / NAME / "configs.yaml").read_text())[NAME]
    template = (EVALUATORS_CONFIG_DIR / config["prompt_template"]).read_text()
    template = template.replace("{instruction}", "What colour is the circle?").replace("{output_2}", "No idea.")
    prompts = [template.replace("{output_1}", f"It is {colour}.") for colour in COLOURS]
    asked = openai_completions(prompts, client_config_path=str(clients), **config["completions_kwargs"])
    for text in asked["completions"]:
        (ranking,) = completion_parsers.json_parser(text, annotation_key="ordered_models")
        assert all(set(place) == {"model", "rank"} for place in ranking), text
