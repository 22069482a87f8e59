-- Stands before every script of a lane's partition. KEYS 1 to 15 are the same in all of them (see keys.rs).
local J, S, A, D, L, T = KEYS[1], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local X, XR, PK, M, WAKE = KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local call = redis.call
local time = call('TIME')
local exact = time[1] * 1000 + time[2] / 1000
local now = math.floor(exact)

-- A full Redis refuses every write that may grow, unless the script has already made one that may not. All but the
-- pushes begin with this one, which removes nothing: a full Redis must still be drained.
local function allow_when_full() call('HDEL', J, '') end

-- One token at most: it says "look", not how much there is.
local function wake() if call('LLEN', WAKE) == 0 then call('LPUSH', WAKE, '1') end end

-- The same first write, for the scripts that end leases: where the lane's limit had held a claim back, there is room now.
local function allow_when_full_and_make_room() if call('HDEL', M, 'held') == 1 then wake() end end

-- The waiting list of an envelope: its first byte is the band's digit. An unreadable band waits as normal.
local function list_of(envelope)
  local band = string.byte(envelope, 1)
  if not band or band < 48 or band > 51 then band = 50 end
  return KEYS[band - 46]
end

-- A record of T: token | deliveries since the last outcome | strikes | stage | overran. The token is empty while nobody
-- holds the job. Stage: 0 as usual, 1 suspect, 2 to be delivered alone.
local function read(record)
  if not record then return '', 0, 0, 0, 0 end
  local token, deliveries, strikes, stage, overran = string.match(record, '^([^|]*)|(%d+)|(%d+)|(%d)|(%d)$')
  return token or '', tonumber(deliveries) or 0, tonumber(strikes) or 0, tonumber(stage) or 0, tonumber(overran) or 0
end

local function write(token, deliveries, strikes, stage, overran)
  return string.format('%s|%d|%d|%d|%d', token, deliveries, strikes, stage, overran)
end

-- What a job's record is during its first delivery: nearly always, so it is compared before anything is taken apart.
local function first_record(token) return token .. '|1|0|0|0' end

-- Whether the record says that this token holds the job. A stale call proves that its owner lives: the strikes fall to 0.
local function holds(token, id, record)
  if not record then return false end
  if #token > 0 and string.sub(record, 1, #token + 1) == token .. '|' then return true end
  local current, deliveries, strikes, stage, overran = read(record)
  if strikes > 0 then call('HSET', T, id, write(current, deliveries, 0, stage, overran)) end
  return false
end

-- Walks ARGV from `from` in groups of `step` (id, token, …) and calls each(id, at, record) for every id whose token is
-- the current one. Answers 1 or 0 for each group.
local function owned(from, step, each)
  local ids, answers, seen = {}, {}, {}
  for at = from, #ARGV, step do ids[#ids + 1] = ARGV[at] end
  if #ids == 0 then return answers end
  local records = call('HMGET', T, unpack(ids))
  for k = 1, #ids do
    local id, at = ids[k], from + (k - 1) * step
    answers[k] = 0
    if not seen[id] and holds(ARGV[at + 1], id, records[k]) then
      seen[id], answers[k] = true, 1
      each(id, at, records[k])
    end
  end
  return answers
end

-- The same for what comes in numbers: (token, how many, id…)… from `from`. Answers the ids that are held, and 1 or 0 for
-- each id.
local function held_of(from)
  local held, answers = {}, {}
  while from < #ARGV do
    local token, count = ARGV[from], tonumber(ARGV[from + 1])
    local first, before = first_record(token), from + 1
    local records = call('HMGET', T, unpack(ARGV, from + 2, before + count))
    for k = 1, count do
      local id, record = ARGV[before + k], records[k]
      if record == first or holds(token, id, record) then
        held[#held + 1], answers[#answers + 1] = id, 1
      else
        answers[#answers + 1] = 0
      end
    end
    from = before + count + 1
  end
  return held, answers
end

-- Keeps what only Redis can keep: the reason and the whole envelope, until a worker has moved them to Postgres.
local function bury(id, reason, envelope)
  call('HDEL', J, id)
  call('HDEL', T, id)
  call('ZREM', L, id)
  call('HSET', XR, id, reason .. '\n' .. envelope)
  call('ZADD', X, now, id)
end
