"""`nbllm demo-server`."""

from __future__ import annotations

import typer

from nbllm.errors import UsageError
from nbllm.transport.demo import create_server


def serve(port: int) -> None:
    """Serve the demo provider on loopback until interrupted, which is its proper end.

    Raises:
        UsageError: The port is taken.
    """
    try:
        server = create_server(port)
    except OSError as exc:
        problem = exc.strerror or str(exc)
    else:
        host, taken = server.server_address[:2]
        typer.echo(f"demo provider at http://{host!s}:{taken}/v1 (no key; Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("", err=True)
        finally:
            server.server_close()
        return
    raise UsageError(f"port {port} cannot be used: {problem}", hint="choose another with --port, or 0 for a free one")
