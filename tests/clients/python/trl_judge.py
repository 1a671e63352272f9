"""TRL's pairwise judge by OpenAI's interface, as it was up to version 0.24.

Accelerate and transformers are stand-ins: the module imports them for its other judges."""

import os
import types

from absent import package_without_init, stand_in

stand_in("accelerate", "llm_blender", "transformers.utils.import_utils")
import sys  # noqa: E402

# Whether packages are there is asked when the module is imported.
utils = sys.modules["transformers.utils"] = types.ModuleType("transformers.utils")
utils.is_openai_available = lambda: True
import_utils = sys.modules["transformers.utils.import_utils"] = types.ModuleType("transformers.utils.import_utils")
import_utils._is_package_available = lambda name, return_version=False: (False, "0") if return_version else False
package_without_init("trl")
package_without_init("trl.trainer")
from trl.trainer.judges import OpenAIPairwiseJudge  # noqa: E402

PROMPTS = [f"Which colour has the {shape}?" for shape in ("circle", "cross", "star", "square", "triangle")] * 4


def judge(monkeypatch, base_url, **options):
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    return OpenAIPairwiseJudge(**options)


def test_every_pair_has_a_winner(monkeypatch, base_url):
    pairs = [["It is red.", "I like music very much."] for _ in PROMPTS]
    ranks = judge(monkeypatch, base_url).judge(PROMPTS, pairs)
    assert len(ranks) == len(PROMPTS) and set(ranks) <= {0, 1}, "everything else is a failure"


def test_a_system_prompt_of_ones_own_with_a_bound_of_one_token(monkeypatch, base_url):
    asked = os.linesep.join(
        [
            "Of the two outputs to {prompt}, select the model that generated the best result.",
            "0: {response0}",
            "1: {response1}",
            "Remember that we only take into account the first character of your answer.",
        ]
    )
    ranks = judge(monkeypatch, base_url, system_prompt=asked).judge(PROMPTS, [["red", "blue"]] * len(PROMPTS))
    assert set(ranks) <= {0, 1}
