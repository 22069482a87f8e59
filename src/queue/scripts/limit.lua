-- limit: what an operator allows the whole fleet in this lane, in place of the settings.
-- KEYS: the partition's. ARGV: (field, number or '' for what the settings say)… Returns 1.
allow_when_full()
for at = 1, #ARGV, 2 do
  if ARGV[at + 1] == '' then call('HDEL', M, ARGV[at]) else call('HSET', M, ARGV[at], ARGV[at + 1]) end
end
-- What was held back under the old limit need not be under the new one.
call('HDEL', M, 'next_place')
wake()
return 1
