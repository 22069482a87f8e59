-- beat: a worker says that it lives, and hears who else does and how long this server has been steady.
-- Stands alone, without the prelude: its keys are the fleet's, in a slot of their own.
-- KEYS: 1 beats (sorted set), 2 cards (hash), 3 server (hash), 4 drains (hash), 5 partitions (hash). ARGV: name ('' only
-- asks), card, ms a beat is good for, ms until a silent worker is forgotten, then 'lane:partitions' of each lane that was
-- ever split, as the caller has it. Returns {steady ms, whether it is to drain, {lane:partitions, ms since a process went
-- by it…}, live worker…}.
redis.call('HDEL', KEYS[2], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]), 'LIMIT', 0, 100)
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
  redis.call('HDEL', KEYS[2], unpack(gone))
  redis.call('HDEL', KEYS[4], unpack(gone))
end
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
-- A restart and a change of roles both change the replication id.
-- Below zero where the clock was set back to before the start, as a machine's is that finds the time after it has booted.
local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(-?%d+)')) * 1000
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local known = redis.call('HGET', KEYS[3], 'id')
if known ~= id then redis.call('HSET', KEYS[3], 'id', id, 'since', known and now or 0) end
local since = tonumber(redis.call('HGET', KEYS[3], 'since') or 0)
-- A number that is in use is written down once a minute: it counts for hours. Before a lane was split it had one partition.
for k = 5, #ARGV do
  local seen = tonumber(redis.call('HGET', KEYS[5], ARGV[k]) or 0)
  if now - seen > 60000 then redis.call('HSET', KEYS[5], ARGV[k], now) end
  if seen == 0 then redis.call('HSETNX', KEYS[5], string.match(ARGV[k], '^[^:]*') .. ':1', now) end
end
local used = redis.call('HGETALL', KEYS[5])
for k = 2, #used, 2 do used[k] = now - tonumber(used[k]) end
local out = { math.max(0, math.min(uptime, now - since)), redis.call('HEXISTS', KEYS[4], ARGV[1]), used }
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now - tonumber(ARGV[3]), '+inf')) do out[#out + 1] = name end
return out
