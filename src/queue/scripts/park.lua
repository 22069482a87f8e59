-- park: this worker does not know the kind or the version; a newer one will.
-- KEYS: the partition's. ARGV: (id, token)… Returns 1 (parked) or 0 (stale) for each.
allow_when_full_and_make_room()
return owned(1, 2, function(id)
  call('ZREM', L, id)
  call('HDEL', T, id)
  call('ZADD', PK, now, id)
end)
