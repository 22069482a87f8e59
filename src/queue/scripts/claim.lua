-- claim: hands a slice over, each job under a lease and a token of its own.
-- KEYS: the partition's. ARGV: worker, lease ms, jobs at most, mode ('any' | 'alone'), suspects in a slice at most.
-- Returns {paused, more waiting, waiting to go alone, parked, ms to the next due job, ms to the next lease's end
-- (-1: none), then (id, token, deliveries, strikes, stage, overran, envelope)…}.
allow_when_full()
local worker, lease, most, mode, suspects = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local out = { 0, 0, 0, 0, -1, -1 }
local HEAD, BAR = #out, 124
-- Shares of sixteen for the four bands: the last two are the ageing, so that nothing starves.
local SHARES = { 8, 4, 2, 2 }
-- Ids that were dropped are skipped; so many looks past them, and the rest is for the next call.
local LOOKS = 8

local function hand_over(ids)
  local envelopes, records = call('HMGET', J, unpack(ids)), call('HMGET', T, unpack(ids))
  local sequence = call('HINCRBY', M, 'lease', 1)
  -- A wiped partition starts at its time, so that no token of before is ever given again.
  if sequence == 1 then sequence = call('HINCRBY', M, 'lease', now) end
  local prefix, suffix = string.format('%.0f.', sequence), ':' .. worker
  local ending, ends, held, seen, at, n = now + lease, {}, {}, {}, #out, 0
  for k = 1, #ids do
    local id, envelope, record = ids[k], envelopes[k], records[k]
    -- A job that was dropped and pushed again stands in its list twice.
    if envelope and not seen[id] and (not record or string.byte(record) == BAR) then
      seen[id] = true
      local token, _, deliveries, strikes, stage, overran = prefix .. k .. suffix, read(record)
      ends[n + 1], ends[n + 2] = ending, id
      held[n + 1] = id
      held[n + 2] = record and write(token, deliveries + 1, strikes, stage, 0) or token .. '|1|0|0|0'
      n = n + 2
      out[at + 1], out[at + 2], out[at + 3], out[at + 4] = id, token, deliveries + 1, strikes
      out[at + 5], out[at + 6], out[at + 7] = stage, overran, envelope
      at = at + 7
    end
  end
  if n > 0 then
    call('ZADD', L, unpack(ends))
    call('HSET', T, unpack(held))
  end
  return n / 2
end

local function take(list, count)
  local taken = 0
  for _ = 1, LOOKS do
    if taken >= count then break end
    local ids = call('LPOP', list, count - taken)
    if not ids then break end
    taken = taken + hand_over(ids)
  end
  return taken
end

local function take_by_bands()
  local left = most
  if most >= 16 then
    for band = 1, 4 do left = left - take(KEYS[band + 1], math.floor(most * SHARES[band] / 16)) end
  else
    -- A short slice has no room for shares: the clock draws one band that may go first.
    local draw, band = tonumber(time[2]) % 16, 1
    while draw >= SHARES[band] do draw, band = draw - SHARES[band], band + 1 end
    left = left - take(KEYS[band + 1], math.ceil(most / 4))
  end
  for band = 1, 4 do
    if left <= 0 then break end
    left = left - take(KEYS[band + 1], left)
  end
end

if call('HEXISTS', M, 'paused') == 1 then
  out[1] = 1
elseif mode == 'alone' then
  take(A, 1)
elseif take(S, math.min(suspects, most)) == 0 then
  take_by_bands()
end
for k = 2, 6 do if call('EXISTS', KEYS[k]) == 1 then out[2] = 1 end end
out[3], out[4] = call('LLEN', A), call('ZCARD', PK)
-- Somebody else may help. A lone job wakes others only when one was just taken: else all would wake each other in turn.
if out[1] == 0 and (out[2] == 1 or (mode == 'alone' and out[3] > 0 and #out > HEAD)) then wake() end
local due, ending = call('ZRANGE', D, 0, 0, 'WITHSCORES'), call('ZRANGE', L, 0, 0, 'WITHSCORES')
if due[2] then out[5] = math.max(0, tonumber(due[2]) - now) end
if ending[2] then out[6] = math.max(0, tonumber(ending[2]) - now) end
return out
