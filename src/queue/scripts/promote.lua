-- promote: due jobs go to the end of their bands.
-- KEYS: the partition's. ARGV: jobs at most. Returns {how many, ms to the next due job (-1: none)}.
allow_when_full()
local ids = call('ZRANGEBYSCORE', D, '-inf', now, 'LIMIT', 0, ARGV[1])
if #ids > 0 then
  local envelopes = call('HMGET', J, unpack(ids))
  call('ZREM', D, unpack(ids))
  for k = 1, #ids do if envelopes[k] then call('RPUSH', list_of(envelopes[k]), ids[k]) end end
  wake()
end
local due = call('ZRANGE', D, 0, 0, 'WITHSCORES')
return { #ids, due[2] and math.max(0, tonumber(due[2]) - now) or -1 }
