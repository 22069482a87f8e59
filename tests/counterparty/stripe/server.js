// Starts stripe-stateful-mock on a free port of loopback and prints the port.
//
// It knows charges and not yet payment intents, whose refunds obey the same rules: a refund of a payment is handed to it as
// one of the charge that has the same id. Everything else goes through as it came, and each answer is its own.
'use strict';
const express = require('express');
const { createExpressApp } = require('stripe-stateful-mock');

const ofCharge = words => {
  if (words.payment_intent === undefined) return;
  words.charge = words.payment_intent;
  delete words.payment_intent;
};
const stripe = express();
stripe.use(express.urlencoded({ extended: true }), (request, _answer, next) => {
  ofCharge(request.body);
  ofCharge(request.query);
  next();
});
stripe.use(createExpressApp());
const server = stripe.listen(0, '127.0.0.1', () => console.log(server.address().port));
