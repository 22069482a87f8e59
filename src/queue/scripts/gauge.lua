-- gauge: what the door has to know of a lane, and of the memory of the Redis that holds it.
-- KEYS: the partition's; 16 the promised places. ARGV: ms after which a place is no longer kept.
-- Returns {waiting, leased, pushed, done, promised, bytes used, bytes allowed (0: no limit)}.
-- Places of callers who never came back, so many a call. By rank: nothing is unpacked, so it may be more than a batch.
local FORGOTTEN = 1024
local P, gone = KEYS[16], '(' .. string.format('%.0f', now - tonumber(ARGV[1]))
local missed = math.min(FORGOTTEN, call('ZCOUNT', P, '-inf', gone))
if missed > 0 then call('ZREMRANGEBYRANK', P, 0, missed - 1) end

local waiting = call('LLEN', S) + call('LLEN', A)
for k = 2, 5 do waiting = waiting + call('LLEN', KEYS[k]) end
local memory = call('INFO', 'memory')
local function bytes(name) return tonumber(string.match(memory, name .. ':(%d+)') or 0) end
return {
  waiting, call('ZCARD', L), tonumber(call('HGET', M, 'pushed') or 0), tonumber(call('HGET', M, 'done') or 0),
  call('ZCARD', P), bytes('used_memory'), bytes('maxmemory')
}
