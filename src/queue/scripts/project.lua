-- project: writes the public states of intents, each only if it is newer, and tells the listeners.
-- KEYS: the intents' partition; 16… the intents' states. ARGV: ttl ms, channel, (printed id, version, public state)…
-- Returns 1 (written) or 0 (not newer) for each.
allow_when_full()
local answers = {}
for k = 16, #KEYS do
  local at = 3 + (k - 16) * 3
  local id, version, public = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local state = call('GET', KEYS[k])
  local known = state and tonumber(string.match(string.sub(state, 33), '^(%d+)\n')) or -1
  if tonumber(version) > known then
    if state then
      call('SET', KEYS[k], string.sub(state, 1, 32) .. version .. '\n' .. public, 'KEEPTTL')
    else
      call('SET', KEYS[k], string.rep('\0', 32) .. version .. '\n' .. public, 'PX', ARGV[1])
    end
    call('PUBLISH', ARGV[2], id .. ' ' .. version .. ' ' .. public)
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
return answers
