"""A worker is a class with a method: its test needs no daemon."""

import threading

import pytest
from examples.pipelines.pages import server
from examples.pipelines.workers import Downloader, GetLinks, GetTextAndWords

CONTENT = """<html><script>var hidden;</script><body><h1>To be</h1> or not to be
<a href="/a.html">first</a><a>no link</a><a href="http://elsewhere/">second</a></body></html>"""


def test_get_text_and_words():
    result = GetTextAndWords().process({"content": CONTENT})
    assert result["text"] == "To be or not to be first no link second"
    assert result["number_of_words"] == 10
    assert result["most_common"][:2] == [("to", 2), ("be", 2)]


def test_get_links():
    result = GetLinks().process({"url": "http://here/page.html", "content": CONTENT})
    assert result == {"links": ["http://here/a.html", "http://elsewhere/"], "number_of_links": 2}


@pytest.fixture
def address():
    with server(0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_downloader(address):
    result = Downloader().process({"url": f"{address}/3.html"})
    assert "Page 3 has so many words: word word word" in result["content"]
    assert result["length"] == len(result["content"])
    assert result["download_duration"] > 0
