-- renew: a sign of life for leases that are still held.
-- KEYS: the partition's. ARGV: lease ms, (id, token)… Returns 1 (renewed) or 0 (lost) for each.
allow_when_full()
local ends = {}
local answers = owned(2, 2, function(id)
  ends[#ends + 1], ends[#ends + 2] = now + tonumber(ARGV[1]), id
end)
if #ends > 0 then call('ZADD', L, 'XX', unpack(ends)) end
return answers
