-- sold_out: the articles of which nothing is left. KEYS: as left.lua. ARGV: ms after a comparison for which it is
-- believed, articles at most.
-- Returns {} where nobody compared lately: what is not sure refuses nobody.
local time = redis.call('TIME')
local compared = tonumber(redis.call('HGET', KEYS[1], '') or 0)
local out = {}
if time[1] * 1000 + math.floor(time[2] / 1000) - compared > tonumber(ARGV[1]) then return out end
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  if all[at] ~= '' and #out < tonumber(ARGV[2]) and tonumber(string.match(all[at + 1], ' (-?%d+)$')) <= 0 then
    out[#out + 1] = all[at]
  end
end
return out
