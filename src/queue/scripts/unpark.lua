-- unpark: back to the end of their bands, because this worker knows them.
-- KEYS: the partition's. ARGV: id… Returns how many.
allow_when_full()
local count = 0
for _, id in ipairs(ARGV) do
  if call('ZREM', PK, id) == 1 then
    local envelope = call('HGET', J, id)
    if envelope then
      call('RPUSH', list_of(envelope), id)
      count = count + 1
    end
  end
end
if count > 0 then wake() end
return count
