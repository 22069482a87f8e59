-- Personal data that is no longer needed is emptied: what was, and how far the sweeps have come. Rows stay, because ids, money
-- and history hang on them.

alter table orders add column erased_at timestamptz;
comment on column orders.erased_at is 'Its person was erased: customer, addresses and metadata are empty, customer_id is a name that leads to nobody.';

create table sweeps (
  subject                 text primary key check (subject in ('inbox', 'communications', 'intents')),
  swept_until             timestamptz
);
comment on table sweeps is 'What came before swept_until was looked at. Workers have no leader: whoever locks the row sweeps the next piece.';
insert into sweeps (subject) values ('inbox'), ('communications'), ('intents');

-- Small, and almost free for who inserts: rows come in the order of time.
create index inbox_received on inbox using brin (received_at);
create index communications_created on communications using brin (created_at);
create index dead_letters_kept on dead_letters (coalesce(replayed_at, dropped_at)) where kind = 'order-intent' and payload <> '{}';

-- What a customer chose and wrote of a line may be emptied; nothing else of it ever changes.
create function order_item_emptied() returns trigger language plpgsql as $$
begin
  if new.attributes <> '{}' or to_jsonb(new) - 'attributes' <> to_jsonb(old) - 'attributes' then
    raise exception 'order_items is append-only: UPDATE refused' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
drop trigger order_items_frozen on order_items;
create trigger order_items_frozen before delete or truncate on order_items for each statement execute function refuse_change();
create trigger order_items_emptied before update on order_items for each row execute function order_item_emptied();

-- The same for what a payload was before somebody changed it.
create function dead_letter_edit_emptied() returns trigger language plpgsql as $$
begin
  if new.before <> '{}' or to_jsonb(new) - 'before' <> to_jsonb(old) - 'before' then
    raise exception 'dead_letter_edits is append-only: UPDATE refused' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
drop trigger dead_letter_edits_append_only on dead_letter_edits;
create trigger dead_letter_edits_append_only before delete or truncate on dead_letter_edits
  for each statement execute function refuse_change();
create trigger dead_letter_edits_emptied before update on dead_letter_edits
  for each row execute function dead_letter_edit_emptied();
