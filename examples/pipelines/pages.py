"""python3 pages.py [PORT]: ten small pages on loopback, so that the example needs no internet."""

import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        number = int(self.path.strip("/").removesuffix(".html"))
        links = "".join(f'<a href="/{other}.html">page {other}</a> ' for other in range(number))
        body = f"<html><style>p {{}}</style><body><p>Page {number} has so many words: {'word ' * number}</p>{links}</body></html>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def server(port):
    return ThreadingHTTPServer(("127.0.0.1", port), Pages)


if __name__ == "__main__":
    with server(int(sys.argv[1]) if len(sys.argv) > 1 else 8088) as serving:
        print("pages are there", flush=True)
        with suppress(KeyboardInterrupt):
            serving.serve_forever()
