"""HTTP servers on 127.0.0.1 whose connections can be distinguished, cut and reset."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Event, Thread
from typing import Any, Final

_HOST: Final = "127.0.0.1"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class LoopbackServer(ThreadingTCPServer):
    """A server with a thread per connection that listens from construction until `stop`."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, port: int, handler: type[LoopbackHandler], name: str, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__((_HOST, port), handler)
        self._tls = tls
        self.stopping = Event()
        self.accepted = 0
        self.open_connections: dict[Any, int] = {}
        # The interval, in seconds, of the checks whether to stop. Leaving a `with` block may take that long.
        self._accepting = Thread(target=self.serve_forever, args=(0.01,), name=name)
        self._accepting.start()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://{_HOST}:{self.server_address[1]}"

    def stop(self) -> None:
        """Stop listening, cut open connections and wait for their threads."""
        self.stopping.set()
        self.shutdown()
        self._accepting.join()
        for connection in list(self.open_connections):
            # The client may have closed the connection already.
            with suppress(OSError):
                # The TLS socket's own shutdown would remove the session while another thread reads from it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; its thread does the TLS handshake."""
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Number the connection in the accepting thread, so that numbers follow the order of arrival."""
        self.accepted += 1
        self.open_connections[request] = self.accepted
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        self.open_connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect; report every other error."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


class LoopbackHandler(BaseHTTPRequestHandler):
    """A handler that keeps connections open, sends without delay and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LoopbackServer

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because the servers record requests themselves."""

    def reset(self) -> None:
        """End the connection with a TCP RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        # The socket closes with its last user. If the server closed it, a FIN would be sent before the RST.
        self.server.open_connections.pop(self.request, None)
        self.rfile.close()
        self.connection.close()
