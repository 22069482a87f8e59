-- Since when an open job counts as old.

alter table jobs add column due_at timestamptz not null default now();
comment on column jobs.due_at is 'When it was first due: its age counts from here. A hold of an hour is no old job when it ends.';
update jobs set due_at = greatest(created_at, run_at);
