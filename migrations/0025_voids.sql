-- When a label was to be given back, and when the carrier said what it thinks of that: an order's history tells both, and
-- a parcel that waits for its next label is late from then on. Rows of older versions have neither.

alter table labels
  add column void_requested_at timestamptz,
  add column void_ended_at     timestamptz;
comment on column labels.void_ended_at is 'When the carrier took it back, or refused to.';
create index labels_given_back on labels (order_id) where void_state is not null;
