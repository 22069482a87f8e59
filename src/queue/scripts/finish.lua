-- finish: the jobs are done; nothing of them stays.
-- KEYS: the partition's. ARGV: (id, token)… Returns 1 (finished) or 0 (stale) for each.
allow_when_full()
local ids = {}
local answers = owned(1, 2, function(id) ids[#ids + 1] = id end)
if #ids > 0 then
  call('HDEL', J, unpack(ids))
  call('HDEL', T, unpack(ids))
  call('ZREM', L, unpack(ids))
  call('HINCRBY', M, 'done', #ids)
end
return answers
