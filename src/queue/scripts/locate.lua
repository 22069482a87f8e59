-- locate: where one job stands.
-- KEYS: the partition's. ARGV: id, places looked through at most in each list. Returns {envelope, the list's number among
-- KEYS (0: none), its place there, ms until it is due, ms until its lease ends, ms since it was parked (-1: none), record,
-- reason of its burial}.
local id, most = ARGV[1], ARGV[2]
local out = { call('HGET', J, id) or '', 0, 0, -1, -1, -1, call('HGET', T, id) or '', call('HGET', XR, id) or '' }
for k = 2, 7 do
  local at = call('LPOS', KEYS[k], id, 'MAXLEN', most)
  if at then
    out[2], out[3] = k, at + 1
    break
  end
end
local due, ending, parked = call('ZSCORE', D, id), call('ZSCORE', L, id), call('ZSCORE', PK, id)
if due then out[4] = math.max(0, tonumber(due) - now) end
if ending then out[5] = math.max(0, tonumber(ending) - now) end
if parked then out[6] = math.max(0, now - tonumber(parked)) end
return out
