-- finish: the jobs are done; nothing of them stays.
-- KEYS: the partition's. ARGV: (token, how many, id…)… Returns 1 (finished) or 0 (stale) for each.
allow_when_full_and_make_room()
local ids, answers = held_of(1)
if #ids > 0 then
  call('HDEL', J, unpack(ids))
  call('ZREM', L, unpack(ids))
  call('HINCRBY', M, 'done', call('HDEL', T, unpack(ids)))
end
return answers
