-- claim: hands a slice over, each job under a lease; all of one claim have one token, which no other claim ever has.
-- KEYS: the partition's. ARGV: worker, lease ms, jobs at most, mode ('any' | 'alone'), suspects in a slice at most, jobs
-- leased at once and jobs a second in the whole fleet (0: no limit), where no operator has set others, partitions of the
-- lane, and which of them this is.
-- Returns {paused, more waiting, waiting to go alone, parked, ms to the next due job, ms to the next lease's end
-- (-1: none), buried, whether there is an epoch, ms until a limit of the fleet lets more through (-1: none holds), token,
-- then (id, past, envelope)…}. Past: '' for a first delivery, else 'deliveries|strikes|stage|overran'.
allow_when_full()
local worker, lease, most, mode, suspects = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local out = { 0, 0, 0, 0, -1, -1, 0, 0, -1, '' }
local HEAD, BAR = #out, 124
-- Shares of sixteen for the four bands: the last two are the ageing, so that nothing starves.
local SHARES = { 8, 4, 2, 2 }
-- Ids that were dropped are skipped; so many looks past them, and the rest is for the next call.
local LOOKS = 8
-- A hash of small values is searched from end to end up to 512 entries. One value over 64 bytes makes T a table for as
-- long as it lives: ten times as fast under load. A few jobs are not worth it.
local MANY, LONG = 8, string.rep(' ', 65)
-- As text: a number would be printed anew for every job.
local ending = string.format('%.0f', now + lease)
local token, first

local function new_token()
  local sequence = call('HINCRBY', M, 'lease', 1)
  -- A wiped partition starts at its time, so that no token of before is ever given again.
  if sequence == 1 then sequence = call('HINCRBY', M, 'lease', now) end
  token = string.format('%.0f:', sequence) .. worker
  first, out[HEAD] = first_record(token), token
end

-- The past of a job that was handed over before, and its record from now on.
local function again(record)
  local _, deliveries, strikes, stage, overran = read(record)
  local past = string.format('%d|%d|%d|%d', deliveries + 1, strikes, stage, overran)
  return past, write(token, deliveries + 1, strikes, stage, 0)
end

local function lease_out(ends, held)
  call('ZADD', L, unpack(ends))
  if #held < 2 * MANY then
    call('HSET', T, unpack(held))
  else
    call('HSET', T, '', LONG, unpack(held))
    call('HDEL', T, '')
  end
end

local function hand_over(ids)
  local envelopes, records = call('HMGET', J, unpack(ids)), call('HMGET', T, unpack(ids))
  if not token then new_token() end
  local ends, held, seen, at, n = {}, {}, {}, #out, 0
  for k = 1, #ids do
    local id, envelope, record = ids[k], envelopes[k], records[k]
    -- A job that was dropped and pushed again stands in its list twice.
    if envelope and not seen[id] and (not record or string.byte(record) == BAR) then
      seen[id] = true
      local past, new = '', first
      if record then past, new = again(record) end
      ends[n + 1], ends[n + 2] = ending, id
      held[n + 1], held[n + 2] = id, new
      n = n + 2
      out[at + 1], out[at + 2], out[at + 3] = id, past, envelope
      at = at + 3
    end
  end
  if n > 0 then lease_out(ends, held) end
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

local kept = call('HMGET', M, 'paused', 'epoch', 'most_leased', 'most_a_second', 'next_place')
-- Each partition keeps its share of the lane's limits. One that is left over from a larger number has the share of another.
local partitions, which = tonumber(ARGV[8]), tonumber(ARGV[9])
local asked, most_leased, rate = most, tonumber(kept[3] or ARGV[6]), tonumber(kept[4] or ARGV[7]) / partitions
if most_leased > 0 then most_leased = math.max(1, math.floor((most_leased + partitions - 1 - which % partitions) / partitions)) end
-- Of a rate, a quarter of a second's jobs may be taken at once; `ahead` is how many ms of it were taken in advance. A clock
-- that stepped back costs no more than that quarter.
local step, burst, ahead = 0, 0, 0
if most_leased > 0 then most = math.min(most, most_leased - call('ZCARD', L)) end
if rate > 0 then
  step, burst = 1000 / rate, math.max(1, rate / 4)
  ahead = math.max(0, math.min(tonumber(kept[5] or 0) - exact, burst * step))
  most = math.min(most, math.floor(burst - ahead / step + 0.000001))
end

-- What the limits still let through after this claim, now that more is waiting.
local function held_back(taken)
  local wait = -1
  if rate > 0 then
    ahead = ahead + taken * step
    if taken > 0 then call('HSET', M, 'next_place', string.format('%.3f', exact + ahead)) end
    -- A twentieth of a second's jobs are worth a claim; one by one they would cost a claim each.
    local over = ahead - (burst - math.max(1, math.min(asked, rate / 20))) * step
    if burst - ahead / step < 0.999999 then wait = math.max(1, math.ceil(over)) end
  end
  if most_leased > 0 and call('ZCARD', L) >= most_leased then
    -- Whoever ends a lease wakes somebody; the second is for a wake-up that was lost.
    call('HSET', M, 'held', '1')
    wait = math.max(wait, 1000)
  end
  return wait
end

if kept[1] then
  out[1] = 1
elseif most < 1 then
  -- A limit of the fleet: nothing is claimed that may not run.
elseif mode == 'alone' then
  take(A, 1)
elseif take(S, math.min(suspects, most)) == 0 then
  take_by_bands()
end
for k = 2, 6 do if call('EXISTS', KEYS[k]) == 1 then out[2] = 1 end end
out[3], out[4] = call('LLEN', A), call('ZCARD', PK)
out[7], out[8] = call('ZCARD', X), kept[2] and 1 or 0
if out[1] == 0 and (most_leased > 0 or rate > 0) then
  local wait = held_back((#out - HEAD) / 3)
  if out[2] == 1 or out[3] > 0 then out[9] = wait end
end
-- Somebody else may help. A lone job wakes others only when one was just taken: else all would wake each other in turn.
if out[1] == 0 and out[9] < 0 and (out[2] == 1 or (mode == 'alone' and out[3] > 0 and #out > HEAD)) then wake() end
local due, ending = call('ZRANGE', D, 0, 0, 'WITHSCORES'), call('ZRANGE', L, 0, 0, 'WITHSCORES')
if due[2] then out[5] = math.max(0, tonumber(due[2]) - now) end
if ending[2] then out[6] = math.max(0, tonumber(ending[2]) - now) end
return out
