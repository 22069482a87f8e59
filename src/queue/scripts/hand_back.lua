-- hand_back: not worked at all; each to the front of where it came from, so the last claimed goes first. Suspicion stays
-- as it was: nothing was proved.
-- KEYS: the partition's. ARGV: (id, token)… Returns 1 (handed back) or 0 (stale) for each.
allow_when_full_and_make_room()
local any = false
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
  if envelope then
    call('LPUSH', stage == 2 and A or stage == 1 and S or list_of(envelope), id)
    any = true
  end
end)
if any then wake() end
return answers
