-- push_intents: takes order intents in, each together with its idempotency key or not at all.
-- KEYS: the intents' partition; 16 the promised places, then each intent's state. ARGV: ttl ms; the gate of a crowded
-- lane: open jobs and promised places that leave no room, open jobs that keep the fleet busy, open jobs at most, ms that
-- one job takes the fleet, ms of the longest wait, places kept at most, ms before its time that a place may be taken, ms
-- after it that it is kept; then for each intent id, envelope, fingerprint (32 bytes), public state, and how it is met:
-- '0' with an open door, '1' it has to pass the gate, '2' only who is known gets in.
-- Returns for each its push sequence, where it was accepted, or {'mismatch'} | {'replayed', version, public, healed}
-- | {'later', ms, booked} | {'unknown'} | {'full'}; and last how many of the partition are done.
local P, FIRST, WIDTH = KEYS[16], 10, 5
local ttl = ARGV[1]
local full, busy, most, each = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local longest, places, early, kept = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local sequence, done = tonumber(call('HGET', M, 'pushed') or 0), tonumber(call('HGET', M, 'done') or 0)
local pushed = 0

-- The only write that a full Redis refuses before anything else is written: an intent that is known needs none, and is
-- answered beside one that is refused. Answers whether it is there now, and whether Redis is full.
local function push(id, envelope)
  if call('ZSCORE', X, id) then return false end
  local new = redis.pcall('HSETNX', J, id, envelope)
  if type(new) == 'table' then return false, true end
  if new == 0 then return false end
  call('RPUSH', list_of(envelope), id)
  pushed = pushed + 1
  return true
end

-- Nothing where the caller may come in; else how long to stay away, and whether a place is kept for it (nothing where
-- Redis is too full to keep one). Whoever comes
-- at its time finds room, and whoever asks before keeps its place. Nothing may be removed here: that would open a full
-- Redis to the push.
local function sent_away(id)
  local open = call('LLEN', S) + call('LLEN', A) + call('ZCARD', L)
  for k = 2, 5 do open = open + call('LLEN', KEYS[k]) end
  local due = tonumber(call('ZSCORE', P, id) or -1)
  if due > now then return due - now, 1 end
  local promised = call('ZCOUNT', P, string.format('%.0f', now - kept), '+inf')
  if open < most and (due >= now - kept or open + promised < full or open < busy) then return end
  local wait = math.max(1, math.ceil((open + promised) * each - early))
  if wait > longest then return longest, 0 end
  if promised >= places then return wait, 0 end
  local booked = redis.pcall('ZADD', P, now + wait, id)
  if type(booked) == 'table' then return wait end
  call('PEXPIRE', P, longest + kept)
  return wait, 1
end

local function known(state, id, envelope, fingerprint)
  -- A state that a projection created (the key had expired) has no fingerprint: 32 zeros, which forbid nothing.
  local first = string.sub(state, 1, 32)
  if first ~= fingerprint and first ~= string.rep('\0', 32) then return { 'mismatch' } end
  local version, shown = string.match(string.sub(state, 33), '^(%d+)\n(.*)$')
  -- Version 0 is what the intake wrote: queued. If the copy is gone all the same, it was lost: push it again.
  local healed = version == '0' and push(id, envelope)
  return { 'replayed', version, shown, healed and 1 or 0 }
end

-- The state with the push's sequence as its last field: what tells a caller at any door how many are before it.
local function numbered(public, sequence)
  if string.sub(public, -2) ~= '"}' then return public end
  return string.format('%s,"sequence":%.0f}', string.sub(public, 1, -2), sequence)
end

local function take_in(key, at)
  local id, envelope, fingerprint, public = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local state, gated = call('GET', key), ARGV[at + 4] == '1'
  if state then return known(state, id, envelope, fingerprint) end
  if ARGV[at + 4] == '2' then return { 'unknown' } end
  if gated then
    local wait, booked = sent_away(id)
    if wait then return booked and { 'later', wait, booked } or { 'full' } end
  end
  local _, refused = push(id, envelope)
  if refused then return { 'full' } end
  call('SET', key, fingerprint .. '0\n' .. numbered(public, sequence + pushed), 'PX', ttl)
  if gated then call('ZREM', P, id) end
  return sequence + pushed
end

local answers = {}
for k = 17, #KEYS do answers[k - 16] = take_in(KEYS[k], FIRST + (k - 17) * WIDTH) end
if pushed > 0 then
  call('HINCRBY', M, 'pushed', pushed)
  wake()
end
answers[#answers + 1] = done
return answers
