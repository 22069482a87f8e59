-- sweep: ended leases become suspects: a small slice next, then alone; then deaths count, and the last one quarantines.
-- KEYS: the partition's. ARGV: jobs at most, deaths at most, lease ms, live worker…
-- Returns {swept, quarantined, ms to the next lease's end (-1: none)}.
-- Nothing is swept until the server that holds this partition has been up, and its master, for longer than a lease: an
-- outage ends every lease, and is nobody's fault. A restart, a failover and a move all change the replication id.
allow_when_full_and_make_room()
local up = tonumber(string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) * 1000
local server = string.match(call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local known = call('HGET', M, 'server')
if known ~= server then call('HSET', M, 'server', server, 'since', known and now or 0) end
local steady, lease = math.min(up, now - tonumber(call('HGET', M, 'since') or 0)), tonumber(ARGV[3])
if steady < lease then return { 0, 0, lease - steady } end
-- A claim whose answer an outage took is a lease that nobody knows of, under a living owner: for a while after one, that
-- an owner lives is no proof that the job overran its deadline.
local calm = steady >= 3 * lease

local live = {}
for k = 4, #ARGV do live[ARGV[k]] = true end
local ids = call('ZRANGEBYSCORE', L, '-inf', now, 'LIMIT', 0, ARGV[1])
local quarantined = 0
if #ids > 0 then
  local records, envelopes = call('HMGET', T, unpack(ids)), call('HMGET', J, unpack(ids))
  call('ZREM', L, unpack(ids))
  for k = 1, #ids do
    local id, envelope = ids[k], envelopes[k]
    local token, deliveries, strikes, stage, overran = read(records[k])
    local alive = live[string.match(token, ':(.*)$') or '']
    -- Only a delivery made alone can accuse: in company it may have been the neighbour.
    if stage == 2 and not alive then strikes = strikes + 1 end
    if not envelope then
      call('HDEL', T, id)
    elseif strikes >= tonumber(ARGV[2]) then
      bury(id, 'crashed_worker', envelope)
      quarantined = quarantined + 1
    else
      stage = math.min(2, stage + 1)
      call('HSET', T, id, write('', deliveries, strikes, stage, alive and calm and 1 or overran))
      call('RPUSH', stage == 2 and A or S, id)
    end
  end
  wake()
end
local ending = call('ZRANGE', L, 0, 0, 'WITHSCORES')
return { #ids, quarantined, ending[2] and math.max(0, tonumber(ending[2]) - now) or -1 }
