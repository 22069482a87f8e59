-- permit: may so many calls to a provider be made now, by the fleet's breaker and limits of it?
-- Stands alone, without the prelude: its keys are one provider's, in a slot of their own.
-- KEYS: 1 state (hash), 2 places (sorted set: end in ms -> number). ARGV: calls wanted, calls a second, calls at once (0: no
-- limit), ms that a place or a probe lasts unless its holder says that it lives (stay.lua).
-- Returns {how many, the breaker (0: closed, 1: this one is its probe, 2: open), the first one's number, ms until another may be had, ms between
-- those that follow it}.
local state, places = KEYS[1], KEYS[2]
local call = redis.call
-- A write that a full Redis allows, and that removes nothing: calls go on when nothing new is taken in.
call('HDEL', state, '')
local time = call('TIME')
local exact = time[1] * 1000 + time[2] / 1000
local now = math.floor(exact)
local wanted, rate, at_once, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = call('HMGET', state, 'until', 'probe', 'hold', 'next')
local shut, probe, hold = tonumber(kept[1]), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
if shut then
  if now < shut then return { 0, 2, 0, shut - now, 0 } end
  -- Half open: one call of the whole fleet finds out. The others come back every second, until it has told.
  if now < probe then return { 0, 2, 0, math.min(1000, probe - now), 0 } end
  call('HSET', state, 'probe', now + keep)
  return { 1, 1, 0, -1, 0 }
end
-- The provider told us to stay away for a while.
if now < hold then return { 0, 0, 0, hold - now, 0 } end
local granted, wait, step = wanted, -1, 0
if at_once > 0 then
  call('ZREMRANGEBYSCORE', places, '-inf', now)
  granted = math.min(granted, math.max(0, at_once - call('ZCARD', places)))
  -- Nobody tells when a place is free: a call takes about so long.
  if granted < wanted then wait = 100 end
end
if rate > 0 then
  -- As in claim.lua: a quarter of a second's calls at once.
  step = 1000 / rate
  local burst = math.max(1, rate / 4)
  local ahead = math.max(0, math.min(tonumber(kept[4] or 0) - exact, burst * step))
  local room = math.floor(burst - ahead / step + 0.000001)
  if room < granted then granted = room end
  ahead = ahead + granted * step
  if granted > 0 then call('HSET', state, 'next', string.format('%.3f', exact + ahead)) end
  if granted < wanted and granted == room then wait = math.max(wait, math.ceil(ahead - (burst - 1) * step), 1) end
end
local first = 0
if at_once > 0 and granted > 0 then
  first = call('HINCRBY', state, 'number', granted) - granted + 1
  for number = first, first + granted - 1 do call('ZADD', places, now + keep, number) end
end
return { granted, 0, first, wait, math.ceil(step) }
