-- leave: calls to a provider have ended; their places are free. Stands alone, as permit.lua.
-- KEYS: 1 places (sorted set). ARGV: number… Returns how many there were.
return redis.call('ZREM', KEYS[1], unpack(ARGV))
