-- Books the results of a batch and acknowledges its entries, in one step. Only the owner of the running attempt may.
-- ARGV: worker, result ttl, record ttl, rate (items/s, 0 if unknown), then for each chunk:
--       chunk id, attempt, failed items, reason or '', number of parts, name and value of each part.
-- Answers a list of 1 (booked) and 0 (no longer ours: discarded).
local worker, result_ttl, record_ttl, rate = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local answer, changed = {}, {}

local function ours(chunk, attempt)
  local record = redis.call('HMGET', chunk_key(chunk), 'state', 'owner', 'attempts')
  return record[1] == 'running' and record[2] == worker and record[3] == attempt
end

local at = 5
while at <= #ARGV do
  local chunk, attempt, failed, reason, count = unpack(ARGV, at, at + 4)
  at = at + 5
  local parts = {}
  for i = 0, 2 * tonumber(count) - 1 do parts[i + 1] = ARGV[at + i] end
  at = at + 2 * tonumber(count)
  local booked = 0
  if ours(chunk, attempt) then
    changed[book(chunk, failed, reason, parts, result_ttl, record_ttl)] = true
    booked = 1
  end
  answer[#answer + 1] = booked
end

if rate > 0 then
  local before = tonumber(redis.call('HGET', COUNTERS, 'rate') or rate)
  redis.call('HSET', COUNTERS, 'rate', stamp(0.8 * before + 0.2 * rate))
end
for job in pairs(changed) do redis.call('PUBLISH', CHANNEL, job) end
return answer
