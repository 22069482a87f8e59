-- Pieces that were sold before they came: a commit takes what is in the house and counts the rest as owed, and what comes in goes
-- to those first. What is owed counts against the limit, so that no more is ever sold than the limit promises.
--
-- Binaries from before know of no limit but 0 (no command set one): for them nothing changes.
alter table stock drop constraint stock_never_oversold;
alter table stock
  add constraint stock_never_oversold check (reserved between 0 and on_hand + backorder_limit - backordered) not valid,
  add constraint stock_owes_what_is_not_there check (on_hand = 0 or backordered = 0) not valid;
alter table stock validate constraint stock_never_oversold;
alter table stock validate constraint stock_owes_what_is_not_there;

comment on column stock.backorder_limit is 'Pieces that may be sold beyond those in the house; held, and owed, they count against it.';
comment on column stock.backordered is 'Pieces that are sold and have not come yet. None while any is in the house.';
comment on column stock.reserved is
  'Held by active reservations; available is on_hand + backorder_limit - backordered - reserved.';
comment on column stock_movements.delta_on_hand is
  'Pieces that came or went: their sum is on_hand - backordered, because what is owed was taken before it came.';
