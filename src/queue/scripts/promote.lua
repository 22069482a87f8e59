-- promote: due jobs go to the end of their bands, no faster than the fleet takes them.
-- KEYS: the partition's. ARGV: jobs at most. Returns {how many, ms to the next due job (-1: none)}.
-- While fewer than two batches wait, there is room; else as many follow as were done since the last time. So a million
-- jobs of one second do not stand before a fresh one, and a lane that is never empty still lets due jobs in.
allow_when_full()
local most, waiting = tonumber(ARGV[1]), 0
for k = 2, 5 do waiting = waiting + call('LLEN', KEYS[k]) end
local done = tonumber(call('HGET', M, 'done') or 0)
local since = done - tonumber(call('HGET', M, 'promoted') or done)
local count = math.min(most, math.max(2 * most - waiting, since))
call('HSET', M, 'promoted', done)
local ids = count > 0 and call('ZRANGEBYSCORE', D, '-inf', now, 'LIMIT', 0, count) or {}
if #ids > 0 then
  local envelopes = call('HMGET', J, unpack(ids))
  call('ZREM', D, unpack(ids))
  for k = 1, #ids do if envelopes[k] then call('RPUSH', list_of(envelopes[k]), ids[k]) end end
  wake()
end
local due = call('ZRANGE', D, 0, 0, 'WITHSCORES')
return { #ids, due[2] and math.max(0, tonumber(due[2]) - now) or -1 }
