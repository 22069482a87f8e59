-- knows: whether Redis has a job, whatever state it is in. What waits, is delayed, leased or parked keeps its body.
-- KEYS: the partition's. ARGV: id… Returns 1 or 0 for each.
local answers = {}
for k, id in ipairs(ARGV) do
  answers[k] = (call('HEXISTS', J, id) == 1 or call('ZSCORE', X, id)) and 1 or 0
end
return answers
