"""Stripe's and EasyPost's official clients against a running sandbox: code that nobody here wrote must be content with it.

    official_clients.py http://127.0.0.1:12111 --webhooks 127.0.0.1:18080

The sandbox must have been started with both of its webhook URLs pointing at the second address. Keys come from
STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, EASYPOST_API_KEY and EASYPOST_WEBHOOK_SECRET. Ends with 1 and one line on
the first difference.
"""

import argparse
import http.server
import json
import os
import queue
import sys
import threading
import urllib.request
import uuid

import easypost
import stripe

# A webhook leaves in milliseconds; the bound is for a sandbox that sends none.
WEBHOOK_WITHIN_S = 20
TO = {"name": "A. Buyer", "street1": "179 N Harbor Dr", "city": "Redondo Beach", "state": "CA", "zip": "90277", "country": "US"}
FROM = {"name": "Shop", "street1": "417 Montgomery Street", "city": "San Francisco", "state": "CA", "zip": "94104", "country": "US"}
checks = 0


class Difference(Exception):
    """The sandbox is not what the client expects."""


def same(what, found, expected):
    global checks
    checks += 1
    if found != expected:
        raise Difference(f"{what}: expected {expected!r}, found {found!r}")


def refused(what, error, call):
    """The error that `call` raises; it must be of this class."""
    global checks
    checks += 1
    try:
        answer = call()
    except error as raised:
        return raised
    raise Difference(f"{what}: expected {error.__name__}, found an answer: {answer!r}")


class Inbox(http.server.BaseHTTPRequestHandler):
    """Takes webhooks with 200 and keeps headers and raw bodies."""

    protocol_version = "HTTP/1.1"
    taken = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.taken.put((self.headers, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Webhooks:
    """Finds a webhook among those that came; the others stay for later questions."""

    def __init__(self):
        self.seen = []

    def find(self, what, header, wanted):
        while True:
            for headers, body in self.seen:
                if headers.get(header) and wanted(body):
                    return headers[header], body
            try:
                self.seen.append(Inbox.taken.get(timeout=WEBHOOK_WITHIN_S))
            except queue.Empty:
                raise Difference(f"{what}: no such webhook came within {WEBHOOK_WITHIN_S} s") from None


def payments(client, webhooks, secret):
    create = client.v1.payment_intents.create
    params = {
        "amount": 5000,
        "currency": "usd",
        "metadata": {"order": "ord_1"},
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }
    key = {"idempotency_key": str(uuid.uuid4())}
    intent = create(params, key)
    same("a new payment waits for a way to pay", intent.status, "requires_payment_method")
    same("its metadata", intent.metadata["order"], "ord_1")
    same("a replay is the same payment", create(params, key).id, intent.id)
    replay = create(params, key).last_response.headers
    same("and says that it is one", {k.lower(): v for k, v in replay.items()}.get("idempotent-replayed"), "true")
    refused("a key with other parameters", stripe.IdempotencyError, lambda: create({**params, "amount": 6000}, key))
    small = refused("49 cents", stripe.InvalidRequestError, lambda: create({**params, "amount": 49}))
    same("the code for too little", small.code, "amount_too_small")
    same("a payment is found by its id", client.v1.payment_intents.retrieve(intent.id).amount, 5000)
    same("and in the list", client.v1.payment_intents.list({"limit": 1}).data[0].id, intent.id)

    confirm = client.v1.payment_intents.confirm
    declined = refused(
        "a refused card", stripe.CardError, lambda: confirm(intent.id, {"payment_method": "pm_card_visa_chargeDeclined"})
    )
    same("the code of a refused card", declined.code, "card_declined")
    same("a payment is confirmed", confirm(intent.id, {"payment_method": "pm_card_visa"}).status, "succeeded")
    paid = client.v1.payment_intents.retrieve(intent.id)
    same("the amount received", paid.amount_received, 5000)
    late = refused("cancelling what is paid", stripe.InvalidRequestError, lambda: client.v1.payment_intents.cancel(intent.id))
    same("its code", late.code, "payment_intent_unexpected_state")
    other = create(params)
    same("a cancelled payment", client.v1.payment_intents.cancel(other.id).status, "canceled")
    refused("cancelling twice", stripe.InvalidRequestError, lambda: client.v1.payment_intents.cancel(other.id))
    back = client.v1.refunds.create({"payment_intent": intent.id, "amount": 2000})
    same("a part is given back", (back.status, back.amount), ("succeeded", 2000))
    same("and found", client.v1.refunds.retrieve(back.id).payment_intent, intent.id)
    refused("more than is left", stripe.InvalidRequestError, lambda: client.v1.refunds.create({"payment_intent": intent.id, "amount": 3001}))
    held = create({**params, "capture_method": "manual", "payment_method": "pm_card_visa", "confirm": True})
    same("an authorised payment", held.status, "requires_capture")
    same("a captured one", client.v1.payment_intents.capture(held.id).status, "succeeded")
    same("an unknown payment", refused("", stripe.InvalidRequestError, lambda: client.v1.payment_intents.retrieve("pi_no")).code, "resource_missing")

    wanted = lambda body: intent.id.encode() in body and b"payment_intent.succeeded" in body
    header, body = webhooks.find("payment_intent.succeeded", "Stripe-Signature", wanted)
    event = stripe.Webhook.construct_event(body, header, secret)
    same("the event's payment", event.data.object.id, intent.id)
    refused("another secret", stripe.SignatureVerificationError, lambda: stripe.Webhook.construct_event(body, header, "whsec_other"))
    same("an event is found by its id", client.v1.events.retrieve(event.id).type, "payment_intent.succeeded")
    same("and in the list", event.id in [listed.id for listed in client.v1.events.list({"limit": 100}).data], True)
    same("the balance", client.v1.balance.retrieve().object, "balance")


def labels(client, webhooks, secret):
    address = client.address.create(verify=True, **TO)
    same("a verified address", address.verifications.delivery.success, True)
    same("an address is found by its id", client.address.retrieve(address.id).street1, TO["street1"])
    bad = refused(
        "an address of nobody",
        easypost.errors.InvalidRequestError,
        lambda: client.address.create(verify_strict=True, **{**TO, "street1": "UNDELIVERABLE 1"}),
    )
    same("its code", bad.code, "ADDRESS.VERIFY.FAILURE")

    params = {"to_address": TO, "from_address": FROM, "parcel": {"weight": 15.4}, "reference": "label:ord_1:1"}
    shipment = client.shipment.create(**params)
    same("a shipment's reference", shipment.reference, "label:ord_1:1")
    same("creates are not idempotent", client.shipment.create(**params).id != shipment.id, True)
    same("two carriers", {rate.carrier for rate in shipment.rates}, {"USPS", "UPS"})
    same("new rates", len(client.shipment.regenerate_rates(shipment.id).rates), len(shipment.rates))
    shipment = client.shipment.retrieve(shipment.id)
    cheapest = shipment.lowest_rate()
    bought = client.shipment.buy(shipment.id, rate=cheapest)
    same("the selected rate", bought.selected_rate.id, cheapest.id)
    same("a label", bought.postage_label.object, "PostageLabel")
    again = refused("a second buy", easypost.errors.InvalidRequestError, lambda: client.shipment.buy(shipment.id, rate=cheapest))
    same("its code", again.code, "SHIPMENT.POSTAGE.EXISTS")
    found = client.shipment.retrieve(shipment.id)
    same("a look finds the label", found.postage_label.id, bought.postage_label.id)
    same("the parcel is on its way", client.tracker.retrieve(found.tracker.id).status, "in_transit")
    same("a known tracker is returned", client.tracker.create(tracking_code=bought.tracking_code).id, found.tracker.id)
    same("a test code", client.tracker.create(tracking_code="EZ4000000004").status, "delivered")
    same("a refund", client.shipment.refund(shipment.id).refund_status, "submitted")
    same("the account", client.user.retrieve_me().object, "User")

    wanted = lambda body: bought.tracking_code.encode() in body and b"tracker.updated" in body
    header, body = webhooks.find("tracker.updated", "X-Hmac-Signature", wanted)
    event = easypost.util.validate_webhook(body, {"X-Hmac-Signature": header}, secret)
    same("the event's parcel", event["result"]["tracking_code"], bought.tracking_code)
    refused(
        "another secret",
        easypost.errors.SignatureVerificationError,
        lambda: easypost.util.validate_webhook(body, {"X-Hmac-Signature": header}, "other"),
    )


def ordered(base, at, fail):
    """Lets the next call there fail so."""
    rules = json.dumps([{"at": at, "what": {"fail": fail}, "next": 1}])
    urllib.request.urlopen(f"{base}/_sandbox/faults", rules.encode()).close()


def faults(paying, shipping, base):
    for what, fail, error, code in [
        ("a limit that was met", {"status": 429, "reason": "global-rate"}, stripe.RateLimitError, "rate_limit"),
        ("a locked object", {"status": 429}, stripe.RateLimitError, "lock_timeout"),
        ("a key with other parameters", {"status": 400, "code": "idempotency_error"}, stripe.IdempotencyError, None),
        ("a gateway's page", {"status": 502, "html": True}, stripe.APIError, None),
    ]:
        ordered(base, "stripe.retrieve", fail)
        failed = refused(what, error, lambda: paying.v1.payment_intents.retrieve("pi_no"))
        same(f"the code of {what}", (failed.json_body or {}).get("error", {}).get("code"), code)
    ordered(base, "easypost.retrieve", {"status": 422, "code": "SHIPMENT.POSTAGE.NO_RESPONSE"})
    silent = refused("a silent carrier", easypost.errors.InvalidRequestError, lambda: shipping.shipment.retrieve("shp_no"))
    same("its code", silent.code, "SHIPMENT.POSTAGE.NO_RESPONSE")


def strangers(base):
    client = stripe.StripeClient("sk_test_wrong", base_addresses={"api": base}, max_network_retries=0)
    refused("a wrong Stripe key", stripe.AuthenticationError, lambda: client.v1.balance.retrieve())
    client = easypost.EasyPostClient("wrong", api_base=f"{base}/v2")
    refused("a wrong EasyPost key", easypost.errors.ForbiddenError, lambda: client.user.retrieve_me())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="where the sandbox serves HTTP")
    parser.add_argument("--webhooks", required=True, metavar="HOST:PORT", help="where it sends its webhooks")
    args = parser.parse_args()
    host, port = args.webhooks.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Inbox)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    webhooks = Webhooks()
    base = args.base.rstrip("/")
    try:
        paying = stripe.StripeClient(os.environ["STRIPE_SECRET_KEY"], base_addresses={"api": base}, max_network_retries=0)
        payments(paying, webhooks, os.environ["STRIPE_WEBHOOK_SECRET"])
        shipping = easypost.EasyPostClient(os.environ["EASYPOST_API_KEY"], api_base=f"{base}/v2")
        labels(shipping, webhooks, os.environ["EASYPOST_WEBHOOK_SECRET"])
        faults(paying, shipping, base)
        strangers(base)
    except Difference as difference:
        sys.exit(f"difference: {difference}")
    except KeyError as missing:
        sys.exit(f"set {missing.args[0]} as the sandbox has it")
    except (stripe.StripeError, easypost.errors.EasyPostError) as error:
        sys.exit(f"difference: the official client is not content: {type(error).__name__}: {error}")
    print(f"ok: {checks} checks by stripe {stripe.VERSION} and easypost {easypost.constant.VERSION}")


if __name__ == "__main__":
    main()
