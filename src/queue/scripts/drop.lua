-- drop: an operator wants these gone, held or not; a holder's token is stale from now on.
-- KEYS: the partition's. ARGV: id… Returns how many there were. Their places in the waiting lists are skipped at claim.
allow_when_full_and_make_room()
local count = 0
for _, id in ipairs(ARGV) do
  count = count + call('HDEL', J, id)
  call('HDEL', T, id)
  for _, set in ipairs({ L, D, PK }) do call('ZREM', set, id) end
end
if count > 0 then call('HINCRBY', M, 'done', count) end
return count
