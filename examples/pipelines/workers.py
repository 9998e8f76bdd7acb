"""Three workers: a page is downloaded, then its words and its links are looked at, both at the same time."""

from collections import Counter
from html.parser import HTMLParser
from time import perf_counter
from urllib.parse import urljoin
from urllib.request import urlopen

from pypelinin import Worker

# What a Broker offers.
__all__ = ["Downloader", "GetLinks", "GetTextAndWords"]


class Downloader(Worker):
    requires = ["url"]

    def process(self, data):
        begin = perf_counter()
        with urlopen(data["url"], timeout=10) as answer:
            content = answer.read().decode("utf-8", "replace")
        return {"content": content, "length": len(content), "download_duration": perf_counter() - begin}


class GetTextAndWords(Worker):
    requires = ["content"]

    def process(self, data):
        page = Page(data["content"])
        words = page.text.split()
        return {
            "text": page.text,
            "number_of_words": len(words),
            "most_common": Counter(word.lower() for word in words).most_common(3),
        }


class GetLinks(Worker):
    requires = ["url", "content"]

    def process(self, data):
        links = [urljoin(data["url"], link) for link in Page(data["content"]).links]
        return {"links": links, "number_of_links": len(links)}


class Page(HTMLParser):
    """Text and links of a page; no worker, so it is not in __all__."""

    def __init__(self, content):
        super().__init__()
        self.links = []
        self._hidden = 0
        self._pieces = []
        self.feed(content)
        self.text = " ".join(" ".join(self._pieces).split())

    def handle_starttag(self, tag, attributes):
        self._hidden += tag in ("script", "style")
        link = dict(attributes).get("href")
        if tag == "a" and link:
            self.links.append(link)

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._hidden:
            self._pieces.append(data)
