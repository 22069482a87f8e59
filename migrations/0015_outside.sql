-- What is asked of the providers though nobody told of it: where silent parcels are, and which events were never delivered.

alter table shipments add column looked_at timestamptz;
comment on column shipments.looked_at is 'When somebody last went to ask where the parcel is, because nobody had said so.';
-- Delivered parcels, of which there are ever more, are not in it.
create index shipments_on_the_way on shipments (id) where state = 'label_purchased' and tracking_rank < 40;

create table event_windows (
  provider                text primary key,
  compared_to             timestamptz not null,
  compares_to             timestamptz,
  after_event             text,
  constraint event_windows_open check (after_event is null or compares_to is not null)
);
comment on table event_windows is 'Up to when a provider''s own list of events was compared with the inbox. A window that is being compared has an end, and the last event of the page that was read.';

alter table shipments add column rate_carrier text, add column rate_service text;
comment on column shipments.rate_service is 'What was chosen, by name: a rate that expired is replaced by the same service only.';
alter table labels add column insured_minor bigint check (insured_minor > 0);
comment on column labels.insured_minor is 'For how much the parcel is insured, in US cents; null where it is not.';
