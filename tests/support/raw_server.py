"""A server whose bytes a test writes itself."""

from __future__ import annotations

from dev.simulator.loopback import LoopbackHandler, LoopbackServer


class RawHandler(LoopbackHandler):
    """Reads a request, or what TLS begins with, sends the server's bytes and closes the connection."""

    server: RawServer

    def handle(self) -> None:
        """Serve one connection."""
        received = self.connection.recv(65536)
        while received[:1].isalpha() and not received.endswith(b"\r\n\r\n"):
            received += self.connection.recv(65536)
        self.server.seen += 1
        self.wfile.write(self.server.response)


class RawServer(LoopbackServer):
    """Responds with any bytes, HTTP or not."""

    response = b""
    seen = 0

    def error(self, status: int, body: bytes) -> None:
        """Respond with this status and body from now on."""
        self.response = (
            f"HTTP/1.1 {status} \r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )
