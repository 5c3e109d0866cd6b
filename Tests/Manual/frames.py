"""The frames of the decision socket that the manual shows in bytes: read by another codec than the daemon's, and what a
client sends is sent to the daemon that the manual has started, whose frames must be those shown."""
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "Sources/PythonClient"))
import stile  # noqa: E402

# What is another in each run: decision id, snapshot, instant, valid-until; software.
VOLATILE = {4, 6, 7, 8, 14}


class Frames:
    """A conversation on one connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))

    def close(self):
        self.socket.close()

    def check(self, text, flags):
        """What is wrong with a frame and its comments; None when nothing is."""
        digits = "".join(line.split("#")[0] for line in text.splitlines())
        frame = bytes.fromhex("".join(digits.split()))
        (length,) = struct.unpack(">I", frame[:4])
        if length != len(frame) - 4:
            return f"the length says {length}, and {len(frame) - 4} bytes follow"
        shown = stile._decode(frame[4:])
        if "client" in flags:
            self.socket.sendall(frame)
            return None
        if "server" not in flags:
            return "neither of a client nor of the server"
        found = stile._decode(self.take(struct.unpack(">I", self.take(4))[0]))
        if shape(found) != shape(shown):
            return f"the server says {shape(found)}, not {shape(shown)}"
        return None

    def take(self, count):
        taken = b""
        while len(taken) < count:
            piece = self.socket.recv(count - len(taken))
            if not piece:
                raise OSError("the server has closed the connection")
            taken += piece
        return taken


def shape(frame):
    """A frame without what is another in each run."""
    return {key: type(value).__name__ if key in VOLATILE else value for key, value in frame.items()}
