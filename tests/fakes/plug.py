"""A simulated wall plug: a web server in a thread whose answer a test can change.

with FakePlug(lambda t_s: shelly(60.0, 60.0 * t_s)) as plug:
    ...                                     # plug.url
"""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


class FakePlug:
    """Answers every GET.

    Args:
        answer: Returns what is sent as JSON, from the time of `time.perf_counter` in s.
        refresh_s: How often the plug renews its numbers; 0: at each request.
        certificate: A file of its certificate and key, to answer by https.

    Attributes:
        status, raw, hold_s, redirect: Change how it answers: the HTTP status, bytes in place of
            JSON, a delay in s, a URL that it sends the reader to.
        credentials: ``user:password`` that it wants; ``None``: none.
        authorizations: The Authorization header of each request, or ``None``.
        paths: Path and query of each request.
    """

    def __init__(
        self,
        answer: Callable[[float], Any],
        refresh_s: float = 0.0,
        certificate: Path | None = None,
    ) -> None:
        self.answer, self.refresh_s = answer, refresh_s
        self.status, self.hold_s = 200, 0.0
        self.raw: bytes | None = None
        self.redirect: str | None = None
        self.credentials: str | None = None
        self.authorizations: list[str | None] = []
        self.paths: list[str] = []
        plug = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                plug._answer(self)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{self.root}/status?id=0"

    @property
    def root(self) -> str:
        """The same without a path."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Answer from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Be unplugged."""
        self.unplug()

    def unplug(self) -> None:
        """Stop answering; a second call does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        given = request.headers.get("Authorization")
        self.authorizations.append(given)
        self.paths.append(request.path)
        status = self.status
        if self.credentials is not None:
            wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
            status = status if given == wanted else 401
        t_s = time.perf_counter()
        if self.refresh_s:
            t_s = t_s // self.refresh_s * self.refresh_s
        body = json.dumps(self.answer(t_s)).encode() if self.raw is None else self.raw
        time.sleep(self.hold_s)
        try:
            request.send_response(302 if self.redirect else status)
            if self.redirect:
                request.send_header("Location", self.redirect)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except ConnectionError:  # the reader has lost patience
            return


def shelly(power_w: float, energy_j: float) -> dict[str, Any]:
    """What a Shelly of the second generation says to ``Switch.GetStatus``."""
    return {
        "id": 0,
        "source": "WS_in",
        "output": True,
        "apower": round(power_w, 1),
        "voltage": 230.1,
        "current": 0.26,
        "aenergy": {"total": round(energy_j / 3600, 3), "by_minute": [0, 0, 0]},
        "temperature": {"tC": 41.5, "tF": 106.7},
    }


def tasmota(power_w: float, energy_j: float) -> dict[str, Any]:
    """What Tasmota says to ``Status 8``."""
    return {
        "StatusSNS": {
            "Time": "2026-01-01T00:00:00",
            "ENERGY": {
                "Total": round(energy_j / 3.6e6, 3),
                "Power": round(power_w),
                "ApparentPower": round(power_w * 1.1),
                "Voltage": 230,
            },
        }
    }


def pdu(power_w: float, energy_j: float) -> dict[str, Any]:
    """What a rack's power distribution unit may say: outlets, numbers as text, fine joules."""
    return {
        "outlets": [
            {"label": "switch", "watts": "11.2", "joules": 5.0},
            {"label": "node 1", "watts": f"{power_w:.2f}", "joules": round(energy_j, 2)},
        ]
    }


def redfish_power(power_w: float | None) -> dict[str, Any]:
    """What a BMC says of ``Chassis/1/Power`` (DSP0268), with parts of the machine beside it."""
    return {
        "@odata.type": "#Power.v1_7_1.Power",
        "@odata.id": "/redfish/v1/Chassis/1/Power",
        "PowerControl": [
            {
                "MemberId": "0",
                "Name": "System Input Power",
                "PowerConsumedWatts": power_w,
                "PowerMetrics": {"IntervalInMin": 1, "AverageConsumedWatts": 12},
            }
        ],
        "PowerSupplies": [{"LastPowerOutputWatts": 325}],
    }


def redfish_metrics(power_w: float, energy_j: float) -> dict[str, Any]:
    """What a BMC says of ``Chassis/1/EnvironmentMetrics``."""
    return {
        "@odata.type": "#EnvironmentMetrics.v1_3_0.EnvironmentMetrics",
        "PowerWatts": {
            "DataSourceUri": "/redfish/v1/Chassis/1/Sensors/TotalPower",
            "Reading": power_w,
            "ApparentVA": power_w * 1.1,
        },
        "EnergykWh": {"Reading": round(energy_j / 3.6e6, 1), "LifetimeReading": 98765.4},
    }
