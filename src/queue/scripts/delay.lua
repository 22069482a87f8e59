-- delay: an outcome that comes back later. The worker lived to tell, so suspicion and strikes are over.
-- KEYS: the partition's. ARGV: (id, token, delay ms, attempts as one byte)… Returns 1 (delayed) or 0 (stale) for each.
allow_when_full_and_make_room()
local any = false
local answers = owned(1, 4, function(id, at)
  local envelope = call('HGET', J, id)
  call('ZREM', L, id)
  call('HDEL', T, id)
  if not envelope then return end
  -- The third byte of an envelope is its attempts (envelope.rs).
  if string.sub(envelope, 3, 3) ~= ARGV[at + 3] then
    call('HSET', J, id, string.sub(envelope, 1, 2) .. ARGV[at + 3] .. string.sub(envelope, 4))
  end
  call('ZADD', D, math.ceil(exact + tonumber(ARGV[at + 2])), id)
  any = true
end)
-- Whoever wakes learns when the next job is due.
if any then wake() end
return answers
