-- beat: a worker says that it lives, and hears who else does and how long this server has been steady.
-- Stands alone, without the prelude: its keys are the fleet's, in a slot of their own.
-- KEYS: 1 beats (sorted set), 2 cards (hash), 3 server (hash), 4 drains (hash). ARGV: name ('' only asks), card, ms a beat is good for,
-- ms until a silent worker is forgotten. Returns {steady ms, whether it is
-- to drain, live worker…}.
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
local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) * 1000
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local known = redis.call('HGET', KEYS[3], 'id')
if known ~= id then redis.call('HSET', KEYS[3], 'id', id, 'since', known and now or 0) end
local since = tonumber(redis.call('HGET', KEYS[3], 'since') or 0)
local out = { math.min(uptime, now - since), redis.call('HEXISTS', KEYS[4], ARGV[1]) }
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now - tonumber(ARGV[3]), '+inf')) do out[#out + 1] = name end
return out
