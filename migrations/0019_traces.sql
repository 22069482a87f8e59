-- An order is one trace, from the request that wished for it to its last mail.

alter table orders add column traceparent text;
comment on column orders.traceparent is 'W3C traceparent of the request that wished for it. Jobs of the order belong to this trace, whatever causes them; null of orders that an older version made.';
