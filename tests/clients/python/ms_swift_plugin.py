"""ms-swift's reward plugin of `examples`, with the base class and the table of rewards of the published package.

What the package imports beside them (torch, transformers) is left out."""

import asyncio
import runpy
import sys

from absent import package_without_init, stand_in
from conftest import QUESTION, RIGHT, ROOT, WRONG

package_without_init("swift")
package_without_init("swift.rewards")
stand_in("swift.infer_engine")
from swift.rewards import orm  # noqa: E402

# The package gives these names lazily.
sys.modules["swift.rewards"].AsyncORM = orm.AsyncORM
sys.modules["swift.rewards"].orms = orm.orms


def load(address, monkeypatch, name):
    monkeypatch.setenv("GAVEL_URL", address)
    monkeypatch.chdir(ROOT)
    return runpy.run_path(str(ROOT / "examples" / "ms_swift_reward.py"), run_name=name)


def test_the_plugin_registers_and_rewards(address, data_url, monkeypatch):
    load(address, monkeypatch, "plugin")
    reward = orm.orms["gavel"]()
    assert isinstance(reward, orm.AsyncORM)
    turns = [{"role": "user", "content": QUESTION}]
    found = asyncio.run(
        reward(completions=[RIGHT, WRONG], messages=[turns] * 2, image=[data_url] * 2, solution=["", ""])
    )
    assert 0 <= found[1] < found[0] <= 1


def test_the_example_runs(address, monkeypatch, capsys):
    load(address, monkeypatch, "__main__")
    assert capsys.readouterr().out.count("The circle is") == 2
