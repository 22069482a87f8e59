-- tell: what a call to a provider showed, for the whole fleet.
-- Stands alone, as permit.lua. KEYS: 1 state (hash). ARGV: 'away' | 'lives' | 'busy' | 'unsure', whether it was the probe,
-- ms (away: the first wait; busy: how long to stay away), ms (away: the longest wait). Returns ms until the next call may be
-- made (0: now).
local state, call = KEYS[1], redis.call
call('HDEL', state, '')
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local word, is_probe, ms, most = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3]), tonumber(ARGV[4])
local shut = tonumber(call('HGET', state, 'until') or nil)
if word == 'busy' then
  local hold = math.max(now + ms, tonumber(call('HGET', state, 'hold') or 0))
  call('HSET', state, 'hold', hold)
  if is_probe then call('HDEL', state, 'until', 'probe', 'trips') end
  return hold - now
elseif word == 'lives' then
  -- Only the probe closes: a call that was begun before the outage proves nothing.
  if shut and is_probe then call('HDEL', state, 'until', 'probe', 'trips', 'since') end
  return 0
elseif word == 'unsure' and not is_probe then
  return 0
end
-- Many calls fail at once: that is one outage, and one wait.
if shut and not is_probe then return math.max(0, shut - now) end
local trips = call('HINCRBY', state, 'trips', 1)
local wait = math.min(most, ms * 2 ^ math.min(trips - 1, 20))
call('HSET', state, 'until', now + wait)
call('HSETNX', state, 'since', now)
call('HDEL', state, 'probe')
return wait
