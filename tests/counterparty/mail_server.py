"""A mail server that nobody here wrote (aiosmtpd), for the mailer to be judged by: TLS, login, and what a mail says.

    mail_server.py --tls none|starttls|implicit --cert cert.pem --key key.pem [--login user:password]

Prints `listening PORT`, then one line of JSON for each mail, read by Python's own parser. Ends when its input does.
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Told:
    """Prints each mail."""

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        told = {
            "to": envelope.rcpt_tos,
            "subject": mail["subject"],
            "message_id": mail["message-id"],
            "type": mail.get_content_type(),
            "text": parts.get("text/plain"),
            "html": parts.get("text/html"),
            "tls": session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            "login": session.authenticated,
        }
        print(json.dumps(told), flush=True)
        return "250 taken"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tls", choices=["none", "starttls", "implicit"], default="none")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--login", help="user:password")
    args = parser.parse_args()
    asyncio.run(serve(args))


async def serve(args):
    more, at_once = {}, None
    if args.tls != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.cert, args.key)
        if args.tls == "starttls":
            more |= {"tls_context": context, "require_starttls": True}
        else:
            at_once = context
    if args.login:
        wanted = tuple(part.encode() for part in args.login.split(":"))

        def judge(server, session, envelope, mechanism, given):
            return AuthResult(success=(given.login, given.password) == wanted, handled=False)

        more |= {"authenticator": judge, "auth_required": True, "auth_require_tls": args.tls == "starttls"}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Told(), **more), "127.0.0.1", 0, ssl=at_once)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    main()
