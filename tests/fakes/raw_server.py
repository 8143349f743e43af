"""A server that sends bytes as a test wants them, one connection after another."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def serving(answer: Callable[[], Iterable[bytes]], pause_s: float = 0.0) -> Iterator[str]:
    """Answer every request by these pieces, a pause between; yields the URL.

    It ends an answer where the reader has gone, or when the context is left.
    """
    ended = threading.Event()

    def answer_all() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65536)
                for piece in answer():
                    if ended.is_set():
                        break
                    connection.sendall(piece)
                    time.sleep(pause_s)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_all)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/status"
        finally:
            ended.set()
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()


def dribble(part: str) -> Iterator[bytes]:
    """A byte at a time without an end, in the ``status`` line, ``headers`` or ``body``."""
    before = {"status": b"HTTP/1.1 200 ", "headers": OK + b"X-Long: ", "body": OK + b"\r\n"}
    yield before[part]
    while True:
        yield b" "
