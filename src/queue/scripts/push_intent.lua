-- push_intent: takes an order intent in together with its idempotency key, or not at all.
-- KEYS: the intents' partition; 16 the intent's state, 17 the promised places. ARGV: id, envelope, fingerprint (32
-- bytes), public state, ttl ms; where the lane is crowded also the gate: open jobs and promised places that leave no
-- room, open jobs that keep the fleet busy, open jobs at most, ms that one job takes the fleet, ms of the longest wait,
-- places kept at most, ms before its time that a place may be taken, ms after it that it is kept.
-- Returns {'mismatch'} | {'replayed', version, public, healed} | {'accepted', sequence, position}
-- | {'later', ms, booked}.
local id, envelope, fingerprint, public, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local P = KEYS[17]

local function push()
  if call('ZSCORE', X, id) or call('HSETNX', J, id, envelope) == 0 then return false end
  call('RPUSH', list_of(envelope), id)
  call('HINCRBY', M, 'pushed', 1)
  wake()
  return true
end

-- Nothing where the caller may come in; else how long to stay away, and whether a place is kept for it. Whoever comes
-- at its time finds room, and whoever asks before keeps its place. Nothing may be removed here: that would open a full
-- Redis to the push.
local function sent_away()
  local full, busy, most, each = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
  local longest, places, early, kept = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
  local open = call('LLEN', S) + call('LLEN', A) + call('ZCARD', L)
  for k = 2, 5 do open = open + call('LLEN', KEYS[k]) end
  local due = tonumber(call('ZSCORE', P, id) or -1)
  if due > now then return due - now, 1 end
  local promised = call('ZCOUNT', P, string.format('%.0f', now - kept), '+inf')
  if open < most and (due >= now - kept or open + promised < full or open < busy) then return end
  local wait = math.max(1, math.ceil((open + promised) * each - early))
  if wait > longest then return longest, 0 end
  if promised >= places then return wait, 0 end
  call('ZADD', P, now + wait, id)
  call('PEXPIRE', P, longest + kept)
  return wait, 1
end

local state = call('GET', KEYS[16])
if state then
  -- A state that a projection created (the key had expired) has no fingerprint: 32 zeros, which forbid nothing.
  local known = string.sub(state, 1, 32)
  if known ~= fingerprint and known ~= string.rep('\0', 32) then return { 'mismatch' } end
  local version, shown = string.match(string.sub(state, 33), '^(%d+)\n(.*)$')
  -- Version 0 is what the intake wrote: queued. If the copy is gone all the same, it was lost: push it again. Looked for
  -- first: a full Redis forbids even a write that would change nothing, and a known intent is answered all the same.
  local healed = version == '0' and call('HEXISTS', J, id) == 0 and push()
  return { 'replayed', version, shown, healed and 1 or 0 }
end
if ARGV[6] then
  local wait, booked = sent_away()
  if wait then return { 'later', wait, booked } end
end
push()
call('SET', KEYS[16], fingerprint .. '0\n' .. public, 'PX', ttl)
if ARGV[6] then call('ZREM', P, id) end
local sequence = tonumber(call('HGET', M, 'pushed') or 0)
return { 'accepted', sequence, sequence - tonumber(call('HGET', M, 'done') or 0) }
