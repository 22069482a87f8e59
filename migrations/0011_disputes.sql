-- Disputes: a customer's bank wants the money of a payment back. The provider takes it out while it lasts and for good where it is lost.

create table disputes (
  id                      uuid primary key,
  order_id                uuid not null references orders,
  payment_id              uuid not null references payments,
  provider                text not null,
  provider_dispute_id     text not null,
  amount_minor            bigint not null check (amount_minor > 0),
  currency                text not null references currencies,
  part_minor              bigint not null check (part_minor > 0),
  reason                  text not null default '',
  state                   text not null check (state in ('inquiry', 'inquiry_closed', 'open', 'lost', 'won')),
  rank                    smallint not null generated always as (case state when 'inquiry' then 10 when 'inquiry_closed' then 20
                            when 'open' then 30 when 'lost' then 40 else 50 end) stored,
  holds_order             boolean not null default false,
  opened_at               timestamptz not null default clock_timestamp(),
  closed_at               timestamptz,
  unique (provider, provider_dispute_id),
  constraint disputes_closed check ((state in ('inquiry_closed', 'lost', 'won')) = (closed_at is not null))
);
comment on table disputes is 'Events come in any order: one is applied only where its rank is higher. A lost one may still be won, never the other way.';
comment on column disputes.amount_minor is 'What the bank wants back, in its currency.';
comment on column disputes.part_minor is 'How much of the payment that is, in the payment''s currency; all of it where the bank counts in another one.';
comment on column disputes.holds_order is 'It put its order on hold: where it ends well, the order goes on by itself. Whoever moves the order aside by hand takes that over.';
create index disputes_payment on disputes (payment_id);
create index disputes_order on disputes (order_id);

alter table payments add column lost_minor bigint not null default 0;
alter table payments add constraint payments_lost check (lost_minor >= 0) not valid;
alter table payments validate constraint payments_lost;
comment on column payments.lost_minor is 'What banks took back for good. It may be more than is left beside the refunds: the customer then has it twice, and an exception says so.';

-- Only upwards, and the payment's loss moves with the row, so that no code path can forget it.
create function dispute_moves() returns trigger language plpgsql as $$
declare lost bigint;
begin
  lost := case when new.state = 'lost' then new.part_minor else 0 end;
  if tg_op = 'UPDATE' then
    if (new.id, new.order_id, new.payment_id, new.provider_dispute_id) is distinct from (old.id, old.order_id, old.payment_id, old.provider_dispute_id)
       or new.rank < old.rank then
      raise exception 'a dispute can not go from % to %', old.state, new.state using errcode = 'check_violation';
    end if;
    lost := lost - case when old.state = 'lost' then old.part_minor else 0 end;
  end if;
  if lost <> 0 then
    update payments set lost_minor = lost_minor + lost where id = new.payment_id;
  end if;
  return null;
end $$;
create trigger disputes_moves after insert or update on disputes for each row execute function dispute_moves();

-- Whoever sends money back beside a dispute pays twice. What somebody did at the provider's own page has happened already.
create function refund_beside_dispute() returns trigger language plpgsql as $$
begin
  if new.origin <> 'external' and (
       exists (select from disputes d where d.payment_id = new.payment_id and d.state = 'open')
    or exists (select from payments p where p.id = new.payment_id and p.lost_minor > 0
                                        and p.refund_reserved_minor + p.lost_minor > p.captured_minor)) then
    raise exception 'the money of refund % is disputed or lost', new.id using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger refunds_beside_disputes after update of state on refunds for each row
  when (new.state = 'submitting' and old.state <> 'submitting') execute function refund_beside_dispute();
