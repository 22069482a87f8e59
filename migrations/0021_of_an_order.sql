-- What belongs to an order is looked up by it: by every page of it, every mail about a parcel, and every look at what is
-- stuck. These two had no index for that since the live label's covers labels that are not to be voided alone. Some
-- seconds for a million rows, in which labels are not written; the jobs that write them wait and try again.

create index labels_order on labels (order_id);
create index order_exceptions_order on order_exceptions (order_id);
