-- Who sees to second receipts looks for those that nobody has seen to, every half minute.
create index effect_evidence_open on effect_evidence (id) where resolved_at is null;
