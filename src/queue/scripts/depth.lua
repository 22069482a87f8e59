-- depth: how much stands where.
-- KEYS: the partition's. Returns {waiting in bands 0 to 3, suspects, delayed, leased, buried, parked, pushed, done,
-- paused, jobs leased at once and jobs a second that an operator allows (-1: as the settings say), then the envelope at the head of each band that has one}.
local out = {}
for k = 2, 5 do out[#out + 1] = call('LLEN', KEYS[k]) end
out[5] = call('LLEN', S) + call('LLEN', A)
out[6], out[7], out[8], out[9] = call('ZCARD', D), call('ZCARD', L), call('ZCARD', X), call('ZCARD', PK)
out[10] = tonumber(call('HGET', M, 'pushed') or 0)
out[11] = tonumber(call('HGET', M, 'done') or 0)
out[12] = call('HEXISTS', M, 'paused')
out[13] = tonumber(call('HGET', M, 'most_leased') or -1)
out[14] = tonumber(call('HGET', M, 'most_a_second') or -1)
for k = 2, 5 do
  local id = call('LINDEX', KEYS[k], 0)
  local envelope = id and call('HGET', J, id)
  if envelope then out[#out + 1] = envelope end
end
return out
