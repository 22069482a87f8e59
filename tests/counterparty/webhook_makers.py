"""Stripe's and EasyPost's official clients as those who write webhooks: an intake must believe what they sign, and no more.

    webhook_makers.py http://127.0.0.1:8080

Secrets come from STRIPE_WEBHOOK_SECRET (several with a comma between: any may have signed) and EASYPOST_WEBHOOK_SECRET. Ends
with 1 and one line on the first difference; otherwise prints the ids of the events that were taken in, one a line.
"""

import argparse
import hashlib
import hmac
import json
import os
import sys
import time
import unicodedata
import urllib.error
import urllib.request

import easypost
import stripe

TOLERANCE_S = 300
# A clock's second may turn between signing and judging.
MARGIN_S = 5


class Difference(Exception):
    """The intake is not what the client expects."""


def post(url, headers, body):
    request = urllib.request.Request(url, body.encode(), {"content-type": "application/json", **headers}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def must(what, status, url, headers, body):
    found = post(url, headers, body)
    if found != status:
        raise Difference(f"{what}: expected {status}, the intake answered {found}")


def of_stripe(base, secrets):
    url, sign = f"{base}/webhooks/stripe", stripe.WebhookSignature.generate_signature_header
    taken = []

    def event(name):
        # A unicode text and a number that a careless reader would write in another way.
        told = {"id": f"evt_maker_{name}", "object": "event", "type": "of.no.consequence", "data": {"object": {"id": "x", "n": 1.0, "t": "ä€𐍈"}}}
        return json.dumps(told, ensure_ascii=False)

    def good(name, secret, at=None, header=None):
        body = event(name)
        header = header(body) if header else sign(body, secret, at)
        # What the official client would not believe itself proves nothing.
        stripe.WebhookSignature.verify_header(body, header, secret, None)
        must(f"stripe: {name}", 200, url, {"stripe-signature": header}, body)
        taken.append(f"evt_maker_{name}")

    now = int(time.time())
    for number, secret in enumerate(secrets):
        good(f"secret_{number}", secret)
    good("old_but_not_too_old", secrets[0], now - TOLERANCE_S + MARGIN_S)
    both = lambda body: sign(body, "another", now) + "," + sign(body, secrets[0], now).split(",", 1)[1] + ",v0=6ffbb59b"
    good("one_of_two_signatures", secrets[0], header=both)
    must("stripe: the same again", 200, url, {"stripe-signature": sign(event("secret_0"), secrets[0])}, event("secret_0"))

    body = event("refused")
    refused = [
        ("another secret", sign(body, "whsec_nobody"), body),
        ("too old", sign(body, secrets[0], now - TOLERANCE_S - MARGIN_S), body),
        ("from the future", sign(body, secrets[0], now + TOLERANCE_S + MARGIN_S), body),
        ("one byte more", sign(body, secrets[0]), body + " "),
        ("a signature of another scheme alone", sign(body, secrets[0]).replace("v1=", "v0="), body),
        ("no signature", "", body),
    ]
    for what, header, sent in refused:
        must(f"stripe: {what}", 400, url, {"stripe-signature": header} if header else {}, sent)
    return taken


def of_easypost(base, secret):
    url = f"{base}/webhooks/easypost"

    def sign(body, secret):
        key = unicodedata.normalize("NFKD", secret).encode()
        return "hmac-sha256-hex=" + hmac.new(key, body.encode(), hashlib.sha256).hexdigest()

    # The weight that one client rewrites before it checks: bytes are signed, not numbers.
    body = json.dumps({"id": "evt_maker_parcel", "object": "Event", "description": "of.no.consequence", "result": {"id": "trk_x", "weight": 614}})
    header = sign(body, secret)
    easypost.util.validate_webhook(body.encode(), {"X-Hmac-Signature": header}, secret)
    must("easypost: a signed event", 200, url, {"x-hmac-signature": header}, body)
    for what, header, sent in [
        ("another secret", sign(body, "nobody's"), body),
        ("one byte more", header, body + " "),
        ("no signature", "", body),
    ]:
        must(f"easypost: {what}", 400, url, {"x-hmac-signature": header} if header else {}, sent)
    return ["evt_maker_parcel"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="where the intake listens")
    base = parser.parse_args().base.rstrip("/")
    try:
        taken = of_stripe(base, os.environ["STRIPE_WEBHOOK_SECRET"].split(","))
        taken += of_easypost(base, os.environ["EASYPOST_WEBHOOK_SECRET"])
    except Difference as difference:
        sys.exit(f"difference: {difference}")
    except KeyError as missing:
        sys.exit(f"set {missing.args[0]} as the intake has it")
    except (stripe.SignatureVerificationError, easypost.errors.SignatureVerificationError) as refused:
        sys.exit(f"difference: the official client does not believe it either: {refused}")
    print("\n".join(taken))


if __name__ == "__main__":
    main()
