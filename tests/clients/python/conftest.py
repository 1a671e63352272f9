"""What the tests of clients share: where the server is, and cases of the small critic's toy world."""

import base64
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[3]
PICTURE = ROOT / "training" / "examples" / "scene.png"
QUESTION = "What colour is the circle?"
RIGHT = "The circle is orange."
WRONG = "The circle is purple."


@pytest.fixture(scope="session")
def address():
    """The server's `http://host:port`."""
    return os.environ["GAVEL_ADDRESS"]


@pytest.fixture(scope="session")
def base_url(address):
    """What OpenAI's clients call the base of the server."""
    return address + "/v1"


@pytest.fixture(scope="session")
def data_url():
    """A picture as a data URL."""
    return "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()


@pytest.fixture(scope="session")
def seen(data_url):
    """A conversation about a picture."""
    parts = [
        {"type": "image_url", "image_url": {"url": data_url}},
        {"type": "text", "text": "Describe the image."},
    ]
    return [{"role": "system", "content": "You judge."}, {"role": "user", "content": parts}]
