"""The Python package websockets as a client: says what a WebSocket may say, and prints what comes
back.

Argument: URL. A line is `text HEX`, `binary HEX` or, at last, `closed CODE`.
"""
import sys

from websockets.sync.client import connect

SAID = ["Hello", "", "é🤠 ", "x" * 60_000, bytes([0, 1, 254, 255]), b""]

with connect(sys.argv[1], subprotocols=["chat", "other"]) as socket:
    extensions = ", ".join(extension.name for extension in socket.protocol.extensions)
    print("open", socket.subprotocol or "", extensions, flush=True)
    for one in SAID:
        socket.send(one)
    for _ in SAID:
        data = socket.recv(timeout=120)
        is_text = isinstance(data, str)
        print("text" if is_text else "binary", (data.encode() if is_text else data).hex())
    socket.close(1000)
    print("closed", socket.close_code)
