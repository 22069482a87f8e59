-- An order that no single box carries leaves in several parcels. What lies in which is decided once, before the first of
-- them is made known to anybody, and never changes: labels, customs and insurance tell of it. An order without rows here
-- is one parcel with everything in it, like every order before this table.

create table parcel_lines (
  order_id                uuid not null,
  parcel_no               integer not null check (parcel_no > 0),
  line_no                 integer not null,
  quantity                bigint not null check (quantity > 0),
  primary key (order_id, parcel_no, line_no),
  foreign key (order_id, line_no) references order_items
);
comment on table parcel_lines is 'How many pieces of which line lie in which parcel, of orders that leave in several.';
create trigger parcel_lines_frozen before update or delete or truncate on parcel_lines
  for each statement execute function refuse_change();
