-- wake: gives a token back that was taken for a lane without a free hand, so that another worker hears it.
-- KEYS: the partition's. Returns 1.
allow_when_full()
wake()
return 1
