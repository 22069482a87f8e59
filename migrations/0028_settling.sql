-- Money that a bank debits is on its way for days: the hold waits for it longer than for a card, once, and by the shop's word.
--
-- Binaries from before know nothing of it: they ask a hold that waits so at each of its deadlines, as before, and release it
-- at max_until, which is later now.
alter table reservations add column settling_until timestamptz;
comment on column reservations.settling_until is
  'Its payment was seen at a bank that takes days: the hold lasts until then at most. Set once, and max_until with it.';
