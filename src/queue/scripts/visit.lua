-- visit: counts tries of somebody, and says whether there was room for the last of them.
-- Stands alone, without the prelude: its key is in a slot of its own. KEYS: 1 when all tries that were counted are worked
-- off, in ms. ARGV: ms that one try takes to be worked off, tries that may be open at once, tries made before this one and
-- not counted yet (those happened; fewer than none were no tries after all).
-- Returns the ms to stay away: 0 where this one is counted and may come in. The key ends by itself when it says nothing.
local each, most, before = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local open = math.max(0, tonumber(redis.call('GET', KEYS[1]) or 0) - now)
open = math.max(0, open + before * each)
local wait = open + each - most * each
if wait <= 0 then open = open + each end
if open > 0 then redis.call('SET', KEYS[1], string.format('%.3f', now + open), 'PX', math.ceil(open)) end
return math.max(0, math.ceil(wait))
