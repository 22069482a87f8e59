-- stay: calls to a provider still run; their places are kept for a while longer. Stands alone, as permit.lua.
-- KEYS: 1 state (hash), 2 places (sorted set). ARGV: ms, whether the breaker's probe is one of them, number…
-- A place that was lost meanwhile is not given back: somebody else may have it.
local state, call = KEYS[1], redis.call
call('HDEL', state, '')
local time = call('TIME')
local ending = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
if ARGV[2] == '1' and call('HEXISTS', state, 'probe') == 1 then call('HSET', state, 'probe', ending) end
for k = 3, #ARGV do call('ZADD', KEYS[2], 'XX', ending, ARGV[k]) end
return #ARGV - 2
