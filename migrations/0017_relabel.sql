-- A label that is to be given back leaves its place to the next one at once: carriers take weeks for their word, and the
-- parcel leaves today.

drop index labels_one_live;
create unique index labels_one_live on labels (order_id, parcel_no) where void_state is null;
