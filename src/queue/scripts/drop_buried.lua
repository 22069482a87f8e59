-- drop_buried: Postgres has them now.
-- KEYS: the partition's. ARGV: id… Returns how many there were.
allow_when_full()
local count = 0
for _, id in ipairs(ARGV) do
  count = count + call('ZREM', X, id)
  call('HDEL', XR, id)
end
if count > 0 then call('HINCRBY', M, 'done', count) end
return count
