"""The `spin` wire: a socket that is polled without sleeping, with WebSocket framing in compiled code."""
