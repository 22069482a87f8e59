-- push_intent: takes an order intent in together with its idempotency key, or not at all.
-- KEYS: the intents' partition; 16 the intent's state. ARGV: id, envelope, fingerprint (32 bytes), public state, ttl ms.
-- Returns {'mismatch'} | {'replayed', version, public, healed} | {'accepted', sequence, position}.
local id, envelope, fingerprint, public, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local function push()
  if call('ZSCORE', X, id) or call('HSETNX', J, id, envelope) == 0 then return false end
  call('RPUSH', list_of(envelope), id)
  call('HINCRBY', M, 'pushed', 1)
  wake()
  return true
end
local state = call('GET', KEYS[16])
if state then
  -- A state that a projection created (the key had expired) has no fingerprint: 32 zeros, which forbid nothing.
  local known = string.sub(state, 1, 32)
  if known ~= fingerprint and known ~= string.rep('\0', 32) then return { 'mismatch' } end
  local version, shown = string.match(string.sub(state, 33), '^(%d+)\n(.*)$')
  -- Version 0 is what the intake wrote: queued. If the copy is gone all the same, it was lost: push it again.
  local healed = version == '0' and push()
  return { 'replayed', version, shown, healed and 1 or 0 }
end
push()
call('SET', KEYS[16], fingerprint .. '0\n' .. public, 'PX', ttl)
local sequence = tonumber(call('HGET', M, 'pushed') or 0)
return { 'accepted', sequence, sequence - tonumber(call('HGET', M, 'done') or 0) }
