"""A mail server that keeps what it gets: a file for each message, with its envelope in headers."""

import ssl
import sys
import time
from itertools import count
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

folder, port, certificate, key, user, password = sys.argv[1:]


class Sink:
    numbers = count()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 there is no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        new = Path(folder) / "message.new"
        new.write_bytes(f"X-Recipients: {','.join(envelope.rcpt_tos)}\n".encode() + envelope.content)
        new.rename(Path(folder) / f"message-{next(self.numbers)}")
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (user.encode(), password.encode())
    return AuthResult(success=good, handled=False, message=None if good else "535 wrong user or password")


settings = {}
if certificate:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    settings = {"tls_context": context, "require_starttls": True, "authenticator": authenticate, "auth_required": True}
Controller(Sink(), hostname="127.0.0.1", port=int(port), **settings).start()
while True:
    time.sleep(3600)
