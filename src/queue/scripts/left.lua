-- left: notes what is left of articles. KEYS: hash: article → version and pieces left; '' → when it was last compared.
-- ARGV: 'news' (what a commit left: the newest version stands; nothing is kept of articles that never ran out) or
-- 'truth' (what stands in Postgres: it stands here too), then article, version, pieces left for each.
local is_truth = ARGV[1] == 'truth'
for at = 2, #ARGV, 3 do
  local sku, version, left = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local stands = redis.call('HGET', KEYS[1], sku)
  local newer = not stands or tonumber(version) > tonumber(string.match(stands, '^%d+'))
  if is_truth and tonumber(left) > 0 then
    redis.call('HDEL', KEYS[1], sku)
  elseif is_truth or (newer and (stands or tonumber(left) <= 0)) then
    redis.call('HSET', KEYS[1], sku, version .. ' ' .. left)
  end
end
if is_truth then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], '', time[1] * 1000 + math.floor(time[2] / 1000))
end
