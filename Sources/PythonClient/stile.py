"""Asks a running stiled "may this person do this, now?" over its decision socket (grammar/decision.cddl).

    import stile

    with stile.Client(tenant="acme") as client:
        decision = client.ask(("user", "ada"), "approve", ("payrun", "2026-11", {"total": 90_000}), session="s-ada")
        if decision.permitted:
            pay()

It fails closed: `permitted` is true for a permit of the server without obligation and for nothing else; whatever goes wrong
is a denial with its cause. Asking never raises for what a server or a network does, only for arguments of a wrong type.
A decision has no truth value of its own, so that `if client.ask(…):` is a mistake that is told.

Needs nothing but Python 3.8 or later. A client may be used by several threads; each waits for its own answer.
"""

import socket
import struct
import threading
import time
from decimal import Decimal

__all__ = ["Client", "Decision"]
__version__ = "0.1.0"

MAX_FRAME = 1 << 20
MAX_ANSWER = 8 << 20
MAX_NAME = 256
MAX_DEPTH = 32
_QUESTION, _BATCH, _ERROR = 1, 2, 15
_SEMANTICS = {"execute_all": 0, "deny_on_first_deny": 1, "permit_on_first_permit": 2}


class Decision:
    """What came of a question.

    permitted: True for a permit of the server without obligation, else False.
    kind: permitted, forbidden, not_permitted, step_up, error (of the question), failed (no answer).
    code, message: a stable word and a sentence; the code is "" when rules decided.
    obligations: of {"id", "type", "properties"}; with any, a permit holds only for who meets them all, so `permitted` is
      False and `permitted_with_obligations` True.
    step_up: {"level", "within_ms", "methods", "acr_values"} of a step-up, else None.
    rules: of {"name", "file", "line", "because"}.
    decision_id, policy_version, snapshot, evaluated_at, valid_until: of the server's answer, else None; times in
      milliseconds since 1970; valid_until is None when time alone changes nothing.
    """

    __slots__ = (
        "permitted permitted_with_obligations kind code message attribute obligations step_up rules decision_id "
        "policy_version snapshot evaluated_at valid_until"
    ).split()

    def __init__(self, kind, code="", message="", attribute=None):
        self.permitted = self.permitted_with_obligations = False
        self.kind, self.code, self.message, self.attribute = kind, code, message, attribute
        self.obligations, self.rules, self.step_up = [], [], None
        self.decision_id = self.policy_version = self.snapshot = self.evaluated_at = self.valid_until = None

    def __bool__(self):
        raise TypeError("a decision has no truth value: ask for decision.permitted")

    def __repr__(self):
        return f"<Decision {self.kind}{' ' + self.code if self.code else ''}: {self.message}>"


class _Failure(Exception):
    """Why there is no answer; `again` when the question may be asked once more."""

    def __init__(self, code, message, again=False):
        super().__init__(message)
        self.code, self.again = code, again


# ---- CBOR, deterministic (RFC 8949 4.2.1) ----


def _head(major, argument):
    if argument < 24:
        return bytes([major << 5 | argument])
    for width, extra in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if argument < 1 << (8 * width):
            return bytes([major << 5 | extra]) + argument.to_bytes(width, "big")
    raise ValueError(f"the number {argument} is outside what is counted with")


def _encode(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise ValueError(f"the number {value} is outside what is counted with")
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, str):
        text = value.encode("utf-8")
        return _head(3, len(text)) + text
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise ValueError(f"{value} is no number")
        mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
        return b"\xc4\x82" + _encode(exponent) + _encode(mantissa)
    if isinstance(value, (list, tuple)):
        return _head(4, len(value)) + b"".join(map(_encode, value))
    if isinstance(value, dict):
        pairs = sorted((_encode(key), _encode(item)) for key, item in value.items())
        return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    if isinstance(value, float):
        raise TypeError("a float cannot say what is meant: use int or decimal.Decimal")
    raise TypeError(f"a {type(value).__name__} is no property's value")


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise ValueError("truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self):
        first = self.take(1)[0]
        major, extra = first >> 5, first & 31
        if extra < 24:
            return major, extra
        if extra > 27:
            raise ValueError("indefinite length")
        width = 1 << (extra - 24)
        argument = int.from_bytes(self.take(width), "big")
        if major == 7 or argument < (24 if width == 1 else 1 << (4 * width)):
            raise ValueError("not deterministic")
        return major, argument

    def value(self, depth=0):
        if depth >= MAX_DEPTH:
            raise ValueError("too deep")
        major, argument = self.head()
        if major == 0:
            return argument
        if major == 1:
            return -1 - argument
        if major == 2:
            return self.take(argument)
        if major == 3:
            return self.take(argument).decode("utf-8")
        if major == 4:
            return [self.value(depth + 1) for _ in range(argument)] if argument <= len(self.data) else self.take(argument)
        if major == 5:
            return self.map(argument, depth)
        if major == 6 and argument == 4:
            exponent, mantissa = self.value(depth + 1)
            return Decimal(mantissa).scaleb(exponent)
        if major == 7 and argument in (20, 21, 22):
            return (False, True, None)[argument - 20]
        raise ValueError("unsupported")

    def map(self, count, depth):
        found, last = {}, None
        for _ in range(count):
            start = self.at
            key = self.value(depth + 1)
            encoded = self.data[start : self.at]
            if last is not None and encoded <= last:
                raise ValueError("keys out of order")
            last = encoded
            found[key if isinstance(key, (int, str)) else encoded] = self.value(depth + 1)
        return found


def _decode(data):
    try:
        reader = _Reader(data)
        value = reader.value()
        if reader.at != len(data) or not isinstance(value, dict):
            raise ValueError("no frame")
        return value
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise _Failure("protocol", f"what came is no answer that this client understands: {error}") from error


# ---- Questions and answers ----


def _name(value, path):
    if not isinstance(value, str):
        raise TypeError(f"{path} must be a str")
    if not 1 <= len(value.encode("utf-8")) <= MAX_NAME:
        raise ValueError(f"{path} must have 1 to {MAX_NAME} bytes")
    return value


def _entity(value, path, has_id=True):
    parts = (value,) if isinstance(value, str) else tuple(value)
    names = 2 if has_id else 1
    if not names <= len(parts) <= names + 1:
        raise TypeError(f"{path} must be {'type, id' if has_id else 'a name'} and, if any, properties")
    found = {index: _name(parts[index], path) for index in range(names)}
    if len(parts) > names and parts[names]:
        found[2] = {_name(key, path): item for key, item in parts[names].items() if item is not None}
    return found


def question(subject=None, action=None, resource=None, context=None, session=None, device=None):
    """The fields of a question, for `ask_batch`. Entities are (type, id) or (type, id, properties)."""
    fields = {}
    if subject is not None:
        fields[2] = _entity(subject, "subject")
    if action is not None:
        fields[3] = _entity(action, "action", has_id=False)
    if resource is not None:
        fields[4] = _entity(resource, "resource")
    if context:
        fields[5] = {key: item for key, item in context.items() if item is not None}
    if session is not None:
        fields[6] = _name(session, "session")
    if device is not None:
        fields[7] = _name(device, "device")
    return fields


_KINDS = {(0, 0): "permitted", (1, 1): "forbidden", (1, 2): "not_permitted", (2, 3): "step_up", (1, 4): "error"}
_MESSAGES = {
    "permitted": "permitted",
    "forbidden": "a rule forbids it",
    "not_permitted": "no rule permits it",
    "step_up": "a step-up is needed",
    "error": "the question is an error",
}


def _decision(fields):
    """An answer; what is not wholly understood is none."""
    try:
        kind = _KINDS[fields[2], fields[3]]
        cause = fields.get(10, {})
        decision = Decision(kind, cause.get(0, ""), cause.get(2, _MESSAGES[kind]), cause.get(1))
        decision.decision_id, decision.policy_version, decision.snapshot = fields[4], fields[5], fields[6]
        decision.evaluated_at, decision.valid_until = fields[7], fields.get(8)
        if not isinstance(fields[4], bytes) or len(fields[4]) != 16:
            raise ValueError("no decision id")
        decision.rules = [
            {"name": rule[0], "file": rule[1], "line": rule[2], "because": rule.get(3)} for rule in fields.get(9, [])
        ]
        decision.obligations = [{"id": one[0], "type": one[1], "properties": one[2]} for one in fields.get(12, [])]
        if kind == "step_up":
            demand = fields.get(11, {})
            decision.step_up = {
                "level": demand.get(0),
                "within_ms": demand.get(1),
                "methods": demand.get(2, []),
                "acr_values": demand.get(3, []),
            }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _Failure("protocol", "what came is no answer that this client understands") from error
    # Last of all: nothing that raises comes after a permit.
    decision.permitted_with_obligations = kind == "permitted"
    decision.permitted = kind == "permitted" and not decision.obligations
    return decision


# ---- Connections ----


class _Connection:
    def __init__(self, path, tenant, deadline):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.next_id = 1
        try:
            self._limit(deadline)
            try:
                self.socket.connect(path)
            except OSError as error:
                raise _Failure("unreachable", f"stiled cannot be reached: {path}: {error}", again=True) from error
            welcome = self.exchange(_encode({0: 0, 11: 1, 12: tenant}), deadline)
            if welcome.get(0) != 0:
                raise _Failure("protocol", f"{path} did not answer hello: is it stiled's socket?")
        except BaseException:
            self.socket.close()
            raise

    def _limit(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise _Failure("deadline", "stiled gave no answer in time")
        self.socket.settimeout(left)

    def exchange(self, frame, deadline):
        """Sends a frame and reads the one that answers it."""
        try:
            self._limit(deadline)
            try:
                self.socket.sendall(struct.pack(">I", len(frame)) + frame)
            except (BrokenPipeError, ConnectionResetError):
                pass  # What the server said before it closed is still to be read.
            length = struct.unpack(">I", self._read(4, deadline))[0]
            if length > MAX_ANSWER:
                raise _Failure("protocol", f"the server announces a frame of {length} bytes")
            answer = _decode(self._read(length, deadline))
        except socket.timeout as error:
            raise _Failure("deadline", "stiled gave no answer in time") from error
        except OSError as error:
            raise _Failure("unreachable", f"the connection was closed: {error}", again=True) from error
        if answer.get(0) == _ERROR:
            raise _Failure(str(answer.get(20, "refused")), str(answer.get(21, "stiled refused the question")))
        return answer

    def _read(self, count, deadline):
        data = b""
        while len(data) < count:
            self._limit(deadline)
            part = self.socket.recv(min(count - len(data), 1 << 16))
            if not part:
                raise _Failure("unreachable", "stiled closed the connection", again=True)
            data += part
        return data


class Client:
    """A client of one tenant.

    socket_path: the decision socket.
    timeout: seconds that a question waits for its answer.
    connections: kept open at most when nobody uses them.
    """

    def __init__(self, tenant, socket_path="/run/stile/decision.sock", timeout=1.0, connections=4):
        self._tenant, self._path, self._timeout = _name(tenant, "tenant"), socket_path, timeout
        self._limit, self._lock, self._idle, self._is_closed = connections, threading.Lock(), [], False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes what is open; whatever is asked from now on is denied."""
        with self._lock:
            self._is_closed, idle, self._idle = True, self._idle, []
        for connection in idle:
            connection.socket.close()

    def ask(self, subject, action, resource, *, context=None, session=None, device=None, timeout=None):
        """Asks one question. subject and resource: (type, id) or (type, id, properties); action: a name or
        (name, properties). Values are str, int, bool, decimal.Decimal, lists and dicts of these."""
        fields = question(subject, action, resource, context, session, device)
        return self._perform(_QUESTION, fields, timeout, _decision, Decision)

    def ask_batch(self, questions, defaults=None, semantic="execute_all", timeout=None):
        """Asks several questions, each made by `question`, at one instant over one snapshot; their decisions in order.
        What a question leaves out is taken from `defaults`. semantic: execute_all, deny_on_first_deny or
        permit_on_first_permit."""
        fields = dict(defaults or {})
        fields[9] = list(questions)
        if _SEMANTICS[semantic]:
            fields[10] = _SEMANTICS[semantic]
        count = len(fields[9])

        def read(answer):
            items = answer.get(9)
            if not isinstance(items, list) or len(items) > count or (len(items) < count and semantic == "execute_all"):
                raise _Failure("protocol", "the batch has another number of answers")
            rest = count - len(items)
            stopped = [Decision("failed", "not_evaluated", "the batch stopped before this question") for _ in range(rest)]
            return [_decision(item) for item in items] + stopped

        return self._perform(_BATCH, fields, timeout, read, lambda *cause: [Decision(*cause) for _ in range(count)])

    def _perform(self, kind, fields, timeout, read, fail):
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        pause = 0.001
        while True:
            try:
                return read(self._exchange(kind, fields, deadline))
            except _Failure as failure:
                # Asking twice is as good as asking once: what a restart cut off is asked again.
                if not failure.again or time.monotonic() + pause >= deadline:
                    return fail("failed", failure.code, str(failure))
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def _exchange(self, kind, fields, deadline):
        with self._lock:
            if self._is_closed:
                raise _Failure("closed", "the client is closed")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = _Connection(self._path, self._tenant, deadline)
        try:
            frame = dict(fields)
            frame[0], frame[1] = kind, connection.next_id
            encoded = _encode(frame)
            if len(encoded) > MAX_FRAME:
                raise _Failure("invalid_question", "the question is longer than a frame may be, 1 MiB")
            answer = connection.exchange(encoded, deadline)
            if answer.get(0) != kind or answer.get(1) != connection.next_id:
                raise _Failure("protocol", "the server answered another question")
        except BaseException:
            # After a failure the next answer might be this question's: the connection is not used again.
            connection.socket.close()
            raise
        connection.next_id += 1
        with self._lock:
            if not self._is_closed and len(self._idle) < self._limit:
                self._idle.append(connection)
                return answer
        connection.socket.close()
        return answer
