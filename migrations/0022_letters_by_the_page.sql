-- A hundred thousand dead letters, as after a bad night: what they died of is counted from an index alone, and the few that
-- were taken up or dropped among them are found without reading the rest. Milliseconds where there are few letters.

create index dead_letters_groups on dead_letters (fingerprint, kind, code, lane, died_at) where replayed_at is null and dropped_at is null;
create index dead_letters_replayed on dead_letters (id) where replayed_at is not null;
create index dead_letters_dropped on dead_letters (id) where dropped_at is not null;
