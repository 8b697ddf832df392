"""A page in the browser, served by this process, that shows new shapes as they come."""

import errno
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shapeopt.errors import InputError
from shapeopt.output.report import curves_data, page_html

PORTS = 20
"""So many are tried, one after the other."""
MOST_POLYGONS = 1_000_000
"""Of all shapes that are held for a page that is loaded: some hundred megabytes."""

Rows = Sequence[Mapping[str, Any]]


class LivePage:
    """The viewer of a report, with a slider over all shapes so far; to this machine alone.

    Args:
        title: heading of the page.
        port: to be reached at, or one of the next ones.
        up: the axis that points up, "y" or "z".
        unit: what the numbers of the shapes count, such as "step".
        rows: of a metrics file, asked for whenever the page is loaded.

    Attributes:
        address: to open in a browser.

    Raises:
        InputError: no port is free.
    """

    def __init__(
        self,
        title: str,
        port: int = 8080,
        up: str = "z",
        unit: str = "step",
        rows: Callable[[], Rows] = list,
    ) -> None:
        self._title, self._up, self._unit, self._rows = title, up, unit, rows
        self._lock = threading.Lock()
        self._text = ""
        self._version = 0
        self._shapes: dict[int, dict[str, Any]] = {}  # by the version that they came with
        self._server = _bound(port, self._answer)
        self._server.daemon_threads = True
        self.address = f"http://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, number: int, shape: Mapping[str, Any], text: str) -> None:
        """Shows a shape, see `shapeopt.output.report_viewer`, in its place on the slider.

        The text stands below the heading while the shape is shown.
        """
        with self._lock:
            self._version += 1
            own = {"name": None, "step": number, "text": text}
            self._shapes[self._version] = own | dict(shape)
            self._text = ""
            while len(self._shapes) > 1 and self._polygons() > MOST_POLYGONS:
                del self._shapes[min(self._shapes, key=lambda at: self._shapes[at]["step"])]

    def _polygons(self) -> int:
        return sum(shape["polygons"] for shape in self._shapes.values())

    def tell(self, text: str) -> None:
        """Puts a line below the heading until another shape comes."""
        with self._lock:
            self._text = text

    def close(self) -> None:
        """Ends the page."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str) -> tuple[str, str] | None:
        """Kind and text of what is asked for: the page, or what is new since a version."""
        address = urlsplit(path)
        if address.path == "/":
            return "text/html", self._page()
        if address.path == "/news":
            after = parse_qs(address.query).get("after", ["0"])[0]
            return "application/json", json.dumps(self._news(int(after) if after.isdigit() else 0))
        return None

    def _news(self, after: int) -> dict[str, Any]:
        with self._lock:
            shapes = [shape for version, shape in self._shapes.items() if version > after]
            news = {"version": self._version, "text": self._text, "shapes": shapes}
        if shapes:
            news["curves"], news["cards"] = curves_data(self._rows())
        return news

    def _page(self) -> str:
        news = self._news(0)
        shapes = sorted(news["shapes"], key=lambda shape: shape["step"])
        live = {"version": news["version"], "unit": self._unit}
        return page_html(self._title, shapes, self._rows(), self._up, news["text"], live=live)


def _bound(port: int, answer: Callable[[str], tuple[str, str] | None]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(self.path)
            if found is None:
                self.send_error(404)
                return
            kind, body = found[0], found[1].encode()
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody wants to read of each request."""

    for candidate in range(port, port + PORTS):
        try:
            return ThreadingHTTPServer(("127.0.0.1", candidate), Handler)
        except OverflowError:
            break
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise InputError(f"no port from {port} to {port + PORTS - 1} can be used; give another --port")
