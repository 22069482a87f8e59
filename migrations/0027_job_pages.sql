-- Rows with a copy are compared with the queue page by page, by their ids. By the index from before (lane, relayed_at, id) no page
-- begins where the last one ended: each walked all of the table's key, past every job that waits for its time.
create index jobs_pages on jobs (lane, id) where relayed_at is not null;
drop index jobs_relayed;
