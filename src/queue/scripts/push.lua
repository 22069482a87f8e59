-- push: takes jobs in; a known id is a duplicate and changes nothing.
-- KEYS: the partition's. ARGV: how many are due at once, (id, envelope) of each; then (id, envelope, delay ms) of the
-- others. Returns 1 (queued) or 0 (duplicate) for each.
-- Refused as a whole by a full Redis: its first write is one that may grow.
local at_once, ids, envelopes, delays = tonumber(ARGV[1]), {}, {}, {}
for k = 1, at_once do ids[k], envelopes[k] = ARGV[2 * k], ARGV[2 * k + 1] end
for at = 2 * at_once + 2, #ARGV, 3 do
  local k = #ids + 1
  ids[k], envelopes[k], delays[k] = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
end
local answers, fresh, due, lists, seen = {}, {}, {}, {}, {}
local known, graves = call('HMGET', J, unpack(ids)), call('EXISTS', X) == 1
for k = 1, #ids do
  local id, envelope, delay = ids[k], envelopes[k], delays[k]
  if known[k] or seen[id] or (graves and call('ZSCORE', X, id)) then
    answers[k] = 0
  else
    seen[id], answers[k] = true, 1
    fresh[#fresh + 1], fresh[#fresh + 2] = id, envelope
    if delay then
      -- Rounded up: a job is never due a fraction of a millisecond early.
      due[#due + 1], due[#due + 2] = math.ceil(exact + delay), id
    else
      local list = list_of(envelope)
      local waiting = lists[list] or {}
      lists[list], waiting[#waiting + 1] = waiting, id
    end
  end
end
if #fresh > 0 then
  call('HSET', J, unpack(fresh))
  if #due > 0 then call('ZADD', D, unpack(due)) end
  for list, waiting in pairs(lists) do call('RPUSH', list, unpack(waiting)) end
  call('HINCRBY', M, 'pushed', #fresh / 2)
  wake()
end
return answers
