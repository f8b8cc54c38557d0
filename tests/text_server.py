"""A small HTTP server that plays an OpenAI-compatible one, and every way in which such a server can go wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/json"
Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    """url; asked: what came, in order: path, headers, body."""

    url: str = ""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


def said(text: Any, **more: Any) -> Reply:
    body = {"model": "fake-1", "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], **more}
    return 200, {"Content-Type": JSON}, json.dumps(body).encode()


@contextmanager
def server(reply: Callable[[int, Any], Reply], drip: float = 0.0) -> Iterator[Server]:
    """reply: (number of the request, its body) → status, headers, bytes. drip: seconds between two bytes."""
    known = Server()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(body)

        def do_GET(self) -> None:
            self._answer(None)

        def _answer(self, body: Any) -> None:
            with lock:
                number = len(known.asked)
                known.asked.append((self.path, dict(self.headers), body))
            status, headers, content = reply(number, body)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in [content[i : i + 1] for i in range(len(content))] if drip else [content]:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(drip)
            except OSError:  # who asked has gone
                pass

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    known.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield known
    finally:
        http.shutdown()
        http.server_close()
