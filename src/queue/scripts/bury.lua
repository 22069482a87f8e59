-- bury: what Redis must keep alone, because nobody can read it.
-- KEYS: the partition's. ARGV: (id, token, reason)… Returns 1 (buried) or 0 (stale) for each.
allow_when_full_and_make_room()
return owned(1, 3, function(id, at) bury(id, ARGV[at + 2], call('HGET', J, id) or '') end)
