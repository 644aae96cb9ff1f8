"""What a send that brought no answer says: nothing was sent, or it may have been applied.

httpx-aiohttp turns every connection error of aiohttp's into `httpx.ConnectTimeout`, those after the request
was sent included; so it is the cause that is judged. The text of an exception is never shown: some hold the
headers.
"""

from __future__ import annotations

import errno
import socket
import ssl

import aiohttp

from batch.bland.address import Address
from batch.target import Advice, Outcome, Verdict

_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
#: The code of an address whose certificate cannot be verified.
UNTRUSTED = "TLS_UNTRUSTED"


def judge_mishap(error: Exception, address: Address) -> Outcome:
    """The outcome of a send that ended with an exception and brought no status."""
    cause = error if isinstance(error, aiohttp.ClientError | OSError) else (error.__cause__ or error)
    match cause:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return _not_sent("PROXY_FAILED", f"the proxy made no connection to {address.host}")
        case aiohttp.ClientConnectorCertificateError():
            return _not_sent(*why_not_connected(cause.certificate_error, address))
        case aiohttp.ClientConnectorError():
            return _not_sent(*why_not_connected(cause.os_error, address))
        case aiohttp.ConnectionTimeoutError():
            return _not_sent(*why_not_connected(cause, address))
        case aiohttp.ClientResponseError():
            return _in_doubt("BAD_ANSWER", f"{address.host} answered with something that is not proper HTTP")
        case aiohttp.ClientPayloadError():
            return cut_off()
        case aiohttp.ClientConnectionError() | OSError() | EOFError():
            return _in_doubt("CONNECTION_LOST", "the connection broke before the answer came")
        case _:
            return _in_doubt("NO_ANSWER", f"no answer could be read ({type(cause).__name__})")


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


def cut_off(status: int | None = None) -> Outcome:
    """The outcome of an answer whose end did not arrive."""
    return _in_doubt("ANSWER_CUT_OFF", "the answer ended in the middle", status)


def undecodable(status: int) -> Outcome:
    """The outcome of an answer whose compression is broken, or none that was asked for."""
    return _in_doubt("BAD_ANSWER", "the answer is compressed in a way that cannot be read", status)


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


def _not_sent(code: str, text: str) -> Outcome:
    message = f"{text}; nothing was sent"
    if code == UNTRUSTED:
        return Outcome(Verdict.REFUSED, Advice.UNTRUSTED, error_code=code, message=message)
    return Outcome(Verdict.TRANSIENT, Advice.UNREACHABLE, error_code=code, message=message)


def _in_doubt(code: str, text: str, status: int | None = None) -> Outcome:
    return Outcome(
        Verdict.AMBIGUOUS,
        http_status=status,
        error_code=code,
        message=f"{text}; the change may have been applied",
    )
