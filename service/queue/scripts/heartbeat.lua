-- Keeps a worker's registration and leases alive, and notes how much of a long chunk is done. A lease that is another's by
-- now stays the other's.
-- ARGV: worker, registration ttl (s), number of info words, info (name, value, ...), then of each entry held its id and
--       the thousandths of it that are done.
-- Answers the entry ids that were lost.
local worker, ttl, words = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('HSET', worker_key(worker), unpack(ARGV, 4, 3 + words))
redis.call('PEXPIRE', worker_key(worker), milliseconds(ttl))
redis.call('ZADD', WORKERS, stamp(now()), worker)

local lost, changed = {}, {}

-- As so many items of its job, never all of them: the last is done when there is a result.
local function note(entry, thousandths)
  local chunk = redis.call('XRANGE', STREAM, entry, entry)[1][2][2]
  local record = redis.call('HMGET', chunk_key(chunk), 'job', 'items')
  local items = tonumber(record[2])
  local partly = math.min(items - 1, math.floor(items * thousandths / 1000))
  redis.call('HSET', job_key(record[1]), 'partly:' .. chunk, partly)
  changed[record[1]] = true
end

for i = 4 + words, #ARGV, 2 do
  local entry = ARGV[i]
  if #redis.call('XPENDING', STREAM, GROUP, entry, entry, 1, worker) == 1 then
    redis.call('XCLAIM', STREAM, GROUP, worker, 0, entry, 'JUSTID')
    if ARGV[i + 1] ~= '0' then note(entry, tonumber(ARGV[i + 1])) end
  else
    lost[#lost + 1] = entry
  end
end
tell(changed)
return lost
