"""python3 send_pipelines.py [URL...]: one pipeline for each page. Without a URL: the ten pages of pages.py, which must run."""

import json
import sys
import tempfile
from pathlib import Path

from pypelinin import Job, Pipeline, PipelineManager

GRAPH = {Job("Downloader", retries=2, timeout=30): (Job("GetTextAndWords"), Job("GetLinks"))}
PAGES = [f"http://127.0.0.1:8088/{number}.html" for number in range(10)]


def main(urls, api="tcp://localhost:5555", broadcast="tcp://localhost:5556"):
    folder = Path(tempfile.gettempdir())
    files = [folder / f"{number}.data" for number in range(len(urls))]
    with PipelineManager(api=api, broadcast=broadcast) as manager:
        for file, url in zip(files, urls, strict=True):
            file.write_text(json.dumps({"url": url}))
            manager.start(Pipeline(GRAPH, data={"filename": str(file)}))
        while manager.finished_pipelines < manager.started_pipelines:
            manager.update(0.5)
            print(f"{manager.finished_pipelines} of {manager.started_pipelines} pipelines have ended")
        for pipeline in manager.pipelines:
            if pipeline.error:
                print(f"{pipeline.data['filename']}: {pipeline.error['worker']}: {pipeline.error['error']}")
        durations = [pipeline.duration for pipeline in manager.pipelines]
        print(f"{manager.failed_pipelines} failed; the slowest one took {max(durations):.2f} s")
    for file in files:
        page = json.loads(file.read_text())
        print(f"{page['url']}: {page.get('number_of_words')} words, {page.get('number_of_links')} links")
    return manager.failed_pipelines


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:] or PAGES) else 0)
