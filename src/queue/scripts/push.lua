-- push: takes jobs in; a known id is a duplicate and changes nothing.
-- KEYS: the partition's. ARGV: (id, delay ms, envelope)… Returns 1 (queued) or 0 (duplicate) for each.
-- Refused as a whole by a full Redis: its first write is one that may grow.
local answers, queued, lists = {}, 0, {}
local graves = call('EXISTS', X) == 1
for at = 1, #ARGV, 3 do
  local id, delay, envelope = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  if not (graves and call('ZSCORE', X, id)) and call('HSETNX', J, id, envelope) == 1 then
    -- Rounded up: a job is never due a fraction of a millisecond early.
    if delay > 0 then
      call('ZADD', D, math.ceil(exact + delay), id)
    else
      local list = list_of(envelope)
      local ids = lists[list] or {}
      lists[list], ids[#ids + 1] = ids, id
    end
    queued = queued + 1
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
for list, ids in pairs(lists) do call('RPUSH', list, unpack(ids)) end
if queued > 0 then
  call('HINCRBY', M, 'pushed', queued)
  wake()
end
return answers
