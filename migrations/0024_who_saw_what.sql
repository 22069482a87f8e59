-- What leads to a person goes from dead letters of every kind once they have had their end; a browser that signed out stays
-- out; and what operators did can be looked through, and kept for a time. Milliseconds where there are few letters and few
-- actions; no table that grows with every order is touched.

alter table dead_letters add column emptied_at timestamptz;
comment on column dead_letters.emptied_at is 'What it held of a person was taken out: of a wish all its fields, of an event what the provider said, of any what failures quoted.';
drop index dead_letters_kept;
create index dead_letters_kept on dead_letters (coalesce(replayed_at, dropped_at)) where emptied_at is null and coalesce(replayed_at, dropped_at) is not null;
-- An event may have died before its payment was known here.
create index dead_letters_objects on dead_letters ((payload ->> 'object_id')) where payload ->> 'object_id' is not null;

-- Letters of events say whose they are only within the event.
update dead_letters d set order_id = p.order_id from payments p
 where d.order_id is null and d.payload ->> 'provider' = p.provider
   and p.provider_payment_id = coalesce(d.payload #>> '{event,data,object,payment_intent,id}', d.payload #>> '{event,data,object,payment_intent}');
update dead_letters d set order_id = l.order_id from labels l
 where d.order_id is null and d.payload ->> 'provider' = 'easypost' and l.tracking_code = d.payload #>> '{event,result,tracking_code}';

create table ended_sessions (
  name                    bytea primary key check (length(name) = 16),
  until                   timestamptz not null
);
comment on table ended_sessions is 'Browsers that signed out: a copy of their cookie opens nothing. A row goes once its session would have ended by itself.';
create index ended_sessions_until on ended_sessions (until);

comment on table operator_actions is 'What operators did, one row for each commit. detail holds ids, filters, counts and reasons, and of a refused sign-in the address that it came from; never personal data of a customer.';
create index operator_actions_actor on operator_actions (actor, id);
create index operator_actions_action on operator_actions (action, id);

-- The record is shortened from its old end alone, and by a year at the least.
create function operator_action_ends() returns trigger language plpgsql as $$
begin
  if old.at > now() - interval '365 days' then
    raise exception 'operator_actions is append-only: DELETE of what is younger than a year refused' using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
drop trigger operator_actions_append_only on operator_actions;
create trigger operator_actions_append_only before update or truncate on operator_actions
  for each statement execute function refuse_change();
create trigger operator_actions_end before delete on operator_actions
  for each row execute function operator_action_ends();
