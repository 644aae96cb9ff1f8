"""What a send that brought no answer says: nothing was sent, or it may have been applied.

The text of an exception is never shown: some hold the headers.
"""

from __future__ import annotations

import errno
import socket
import ssl

from batch.bland.address import Address
from batch.target import Advice, Outcome, Verdict

_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
#: The code of an address whose certificate cannot be verified.
UNTRUSTED = "TLS_UNTRUSTED"


def why_not_connected(error: BaseException, address: Address) -> tuple[str, str]:
    """A code and a sentence for an error that was met while connecting."""
    match error:
        case ssl.SSLCertVerificationError():
            why = error.verify_message or "it is not valid"  # OpenSSL's words: "self-signed certificate"
            return UNTRUSTED, f"the certificate of {address.host} cannot be verified ({why[:100]})"
        case ssl.SSLError():
            return "TLS_FAILED", f"{address.host_and_port} does not speak TLS as it should"
        case socket.gaierror():
            return "NAME_NOT_FOUND", f"the name {address.host} was not found"
        case TimeoutError():
            return "CONNECT_TIMEOUT", f"{address.host_and_port} did not take the connection in time"
        case ConnectionRefusedError():
            return "CONNECTION_REFUSED", f"{address.host_and_port} refused the connection"
        case OSError() if error.errno in _OUT_OF_FILES:
            text = "this machine allows no more open files: lower --concurrency, or raise ulimit -n"
            return "TOO_MANY_OPEN_FILES", text
        case _:
            return "CONNECT_FAILED", f"no connection to {address.host_and_port} came about"


def root_of(error: BaseException) -> BaseException:
    """The error of the first address tried, where several were: the outer ones say nothing."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif type(error) is OSError and error.errno is None and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def bad_answer(host: str) -> Outcome:
    """The outcome of an answer that is none of HTTP."""
    return in_doubt("BAD_ANSWER", f"{host} answered with something that is not proper HTTP")


def connection_lost() -> Outcome:
    """The outcome of a send whose connection ended before the head of an answer had come."""
    return in_doubt("CONNECTION_LOST", "the connection broke before the answer came")


def cut_off(status: int | None = None) -> Outcome:
    """The outcome of an answer whose end did not arrive."""
    return in_doubt("ANSWER_CUT_OFF", "the answer ended in the middle", status)


def undecodable(status: int) -> Outcome:
    """The outcome of an answer whose compression is broken, or none that was asked for."""
    return in_doubt("BAD_ANSWER", "the answer is compressed in a way that cannot be read", status)


def too_large(status: int, largest_bytes: int) -> Outcome:
    """The outcome of an answer that is larger than any that the API gives."""
    text = f"the answer is larger than {largest_bytes // 1_000_000} MB, and was not read"
    return Outcome(
        Verdict.AMBIGUOUS,
        Advice.SUSPICIOUS,
        http_status=status,
        error_code="ANSWER_TOO_LARGE",
        message=text,
    )


def not_sent(code: str, text: str) -> Outcome:
    """The outcome of a send that met no connection."""
    message = f"{text}; nothing was sent"
    if code == UNTRUSTED:
        return Outcome(Verdict.REFUSED, Advice.UNTRUSTED, error_code=code, message=message)
    return Outcome(Verdict.TRANSIENT, Advice.UNREACHABLE, error_code=code, message=message)


def in_doubt(code: str, text: str, status: int | None = None) -> Outcome:
    """The outcome of a send that reached the far end, or may have."""
    return Outcome(
        Verdict.AMBIGUOUS,
        http_status=status,
        error_code=code,
        message=f"{text}; the change may have been applied",
    )
