-- Keeps a worker's registration and leases alive. A lease that is another's by now stays the other's.
-- ARGV: worker, registration ttl (s), number of info words, info (name, value, ...), then the entry ids held.
-- Answers the entry ids that were lost.
local worker, ttl, words = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('HSET', worker_key(worker), unpack(ARGV, 4, 3 + words))
redis.call('PEXPIRE', worker_key(worker), milliseconds(ttl))
redis.call('ZADD', WORKERS, stamp(now()), worker)

local lost = {}
for i = 4 + words, #ARGV do
  local entry = ARGV[i]
  if #redis.call('XPENDING', STREAM, GROUP, entry, entry, 1, worker) == 1 then
    redis.call('XCLAIM', STREAM, GROUP, worker, 0, entry, 'JUSTID')
  else
    lost[#lost + 1] = entry
  end
end
return lost
