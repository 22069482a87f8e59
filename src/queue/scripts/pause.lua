-- pause: nothing more is handed over, or again. What is held goes on.
-- KEYS: the partition's. ARGV: '1' (pause) | '0' (resume). Returns 1.
allow_when_full()
if ARGV[1] == '1' then
  call('HSET', M, 'paused', '1')
else
  call('HDEL', M, 'paused')
  wake()
end
return 1
