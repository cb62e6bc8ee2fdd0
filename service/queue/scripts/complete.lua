-- Books the results of a batch and acknowledges its entries, in one step. Only the owner of the running attempt may.
-- ARGV: worker, result ttl, record ttl, rate (items/s, 0 if unknown), then for each chunk:
--       chunk id, attempt, failed items, reason or '', number of parts, name and value of each part.
-- Answers a list of 1 (booked, now or by this same call before its answer was lost) and 0 (no longer ours: discarded).
local worker, result_ttl, record_ttl, rate = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local answer, changed = {}, {}

-- 'running' when the result is to be booked, 'booked' when it has been, else false.
local function standing(chunk, attempt)
  local record = redis.call('HMGET', chunk_key(chunk), 'state', 'owner', 'attempts', 'booked')
  if record[2] ~= worker or record[3] ~= attempt then return false end
  return record[1] == 'running' and 'running' or (record[4] == attempt and 'booked')
end

local at = 5
while at <= #ARGV do
  local chunk, attempt, failed, reason, count = unpack(ARGV, at, at + 4)
  at = at + 5
  local parts = {}
  for i = 0, 2 * tonumber(count) - 1 do parts[i + 1] = ARGV[at + i] end
  at = at + 2 * tonumber(count)
  local found = standing(chunk, attempt)
  if found == 'running' then
    changed[book(chunk, failed, reason, parts, result_ttl, record_ttl)] = true
    redis.call('HSET', chunk_key(chunk), 'booked', attempt)
  end
  answer[#answer + 1] = found and 1 or 0
end

if rate > 0 then
  local before = tonumber(redis.call('HGET', COUNTERS, 'rate') or rate)
  redis.call('HSET', COUNTERS, 'rate', stamp(0.8 * before + 0.2 * rate))
end
tell(changed)
return answer
