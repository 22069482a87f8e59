-- Money that goes back: a row before the provider is asked, and the money set aside on its payment with it.

create table refunds (
  id                      uuid primary key,
  order_id                uuid not null references orders,
  payment_id              uuid not null references payments,
  client_key              text not null check (length(client_key) between 1 and 300),
  provider                text not null,
  provider_refund_id      text,
  amount_minor            bigint not null check (amount_minor > 0),
  currency                text not null references currencies,
  state                   text not null default 'requested' check (state in ('requested', 'submitting', 'unknown', 'pending', 'succeeded', 'cancelled', 'failed')),
  origin                  text not null check (origin in ('api', 'cancel', 'late_payment', 'surplus', 'mismatch', 'external')),
  reason                  text not null default '',
  actor                   text not null,
  cause                   text not null,
  failure                 text,
  created_at              timestamptz not null default clock_timestamp(),
  settled_at              timestamptz,
  unique (order_id, client_key),
  unique (provider, provider_refund_id),
  constraint refunds_known check (state not in ('pending', 'succeeded') or provider_refund_id is not null),
  constraint refunds_settled check ((state in ('succeeded', 'cancelled', 'failed')) = (settled_at is not null))
);
comment on table refunds is 'The key that the provider gets is that of the effect refund:{id}, so that it is unique and the same for each try.';
comment on column refunds.client_key is 'What tells one wish from another: the caller''s Idempotency-Key after its origin, or origin and payment. Two wishes of one amount are two refunds; one wish sent twice is one.';
comment on column refunds.actor is 'Who wanted it: system, or a role and the id of its key.';
comment on column refunds.failure is 'The provider''s code of why it did not happen.';
create index refunds_payment on refunds (payment_id);

-- Only legal moves, and the payment's reserve moves with the row, so that no code path can forget it: with the check of
-- payments.refund_reserved_minor, more than came can never go back, whoever asks at the same time.
create function refund_moves() returns trigger language plpgsql as $$
declare given_back bigint;
begin
  if tg_op = 'INSERT' then
    given_back := case when new.state in ('cancelled', 'failed') then 0 else -new.amount_minor end;
  else
    if (new.id, new.order_id, new.payment_id, new.amount_minor, new.currency)
       is distinct from (old.id, old.order_id, old.payment_id, old.amount_minor, old.currency) then
      raise exception 'what a refund gives back to whom never changes' using errcode = 'check_violation';
    end if;
    if new.state <> old.state and not (
         (old.state = 'requested' and new.state in ('submitting', 'cancelled', 'failed'))
      or (old.state = 'submitting' and new.state in ('unknown', 'pending', 'succeeded', 'cancelled', 'failed'))
      or (old.state = 'unknown' and new.state in ('submitting', 'pending', 'succeeded', 'cancelled', 'failed'))
      or (old.state = 'pending' and new.state in ('succeeded', 'cancelled', 'failed'))
      or (old.state = 'succeeded' and new.state = 'failed')) then
      raise exception 'a refund can not go from % to %', old.state, new.state using errcode = 'check_violation';
    end if;
    given_back := case when new.state in ('cancelled', 'failed') and old.state not in ('cancelled', 'failed')
                       then new.amount_minor else 0 end;
  end if;
  if given_back <> 0 then
    update payments set refund_reserved_minor = refund_reserved_minor - given_back where id = new.payment_id;
  end if;
  return null;
end $$;
create trigger refunds_moves after insert or update on refunds for each row execute function refund_moves();

create function refunds_stay() returns trigger language plpgsql as $$
begin
  raise exception 'a refund is never deleted' using errcode = 'restrict_violation';
end $$;
create trigger refunds_stay before delete or truncate on refunds for each statement execute function refunds_stay();
