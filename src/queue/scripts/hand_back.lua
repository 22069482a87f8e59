-- hand_back: not worked at all; to the front of where it came from. Suspicion stays as it was: nothing was proved.
-- KEYS: the partition's. ARGV: (id, token)… Returns 1 (handed back) or 0 (stale) for each.
allow_when_full()
local back = {}
local answers = owned(1, 2, function(id, _, record)
  local envelope = call('HGET', J, id)
  local _, deliveries, strikes, stage, overran = read(record)
  call('ZREM', L, id)
  deliveries = math.max(0, deliveries - 1)
  if not envelope or (deliveries + strikes + stage + overran) == 0 then
    call('HDEL', T, id)
  else
    call('HSET', T, id, write('', deliveries, strikes, stage, overran))
  end
  if envelope then back[#back + 1] = { id, stage == 2 and A or stage == 1 and S or list_of(envelope) } end
end)
-- From the last to the first, so that they stand in the order in which they were claimed.
for k = #back, 1, -1 do call('LPUSH', back[k][2], back[k][1]) end
if #back > 0 then wake() end
return answers
