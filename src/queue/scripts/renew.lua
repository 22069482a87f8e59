-- renew: a sign of life for leases that are still held.
-- KEYS: the partition's. ARGV: lease ms, (token, how many, id…)… Returns 1 (renewed) or 0 (lost) for each.
allow_when_full()
local ids, answers = held_of(2)
local ending, ends = string.format('%.0f', now + tonumber(ARGV[1])), {}
for k = 1, #ids do ends[2 * k - 1], ends[2 * k] = ending, ids[k] end
if #ends > 0 then call('ZADD', L, 'XX', unpack(ends)) end
return answers
