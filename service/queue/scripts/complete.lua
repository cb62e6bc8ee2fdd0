-- Books the results of a batch and acknowledges its entries, in one step. Only the owner of the running attempt may.
-- ARGV: worker, result ttl, record ttl, rate (items/s, 0 if unknown), then for each chunk:
--       chunk id, attempt, failed items, reason or '', number of parts, name and value of each part.
-- Answers a list of 1 (booked, now or by this same call before its answer was lost) and 0 (no longer ours: discarded).
local MOST_BYTES, MOST_BYTES_AT_ONCE = 16384, 262144  -- of results that go out with the news: of a job, of a message
local worker, result_ttl, record_ttl, rate = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local answer, changed, sent = {}, {}, {}

-- Words of any bytes as one text: the length of each, a line break, and the words.
local function framed(words)
  local lengths = {}
  for i = 1, #words do lengths[i] = #words[i] end
  return table.concat(lengths, ' ') .. '\n' .. table.concat(words)
end

-- Adds a small job's record and parts to what its waiter is sent, if it has one and this chunk was all of it.
local function send_end(job, parts)
  local size = 0
  for i = 1, #parts do size = size + #parts[i] end
  local record = redis.call('HMGET', job_key(job), 'waiter', 'chunks')
  if (record[1] or '') == '' or record[2] ~= '1' or size > MOST_BYTES then return end
  local message = sent[record[1]] or {bytes = 0}
  local text = framed({job}) .. framed(redis.call('HGETALL', job_key(job))) .. framed(parts)
  if message.bytes + #text > MOST_BYTES_AT_ONCE then return end
  message.bytes = message.bytes + #text
  message[#message + 1] = text
  sent[record[1]] = message
end

-- Whether the server has come back without the claim (begin.lua), and the entry is this worker's.
local function forgotten(state, attempts, entry, attempt)
  return state == 'queued' and tonumber(attempts) == tonumber(attempt) - 1
    and #redis.call('XPENDING', STREAM, GROUP, entry, entry, 1, worker) == 1
end

-- 'running' or 'forgotten' when the result is to be booked, 'booked' when it has been, else false.
local function standing(chunk, attempt)
  local record = redis.call('HMGET', chunk_key(chunk), 'state', 'owner', 'attempts', 'booked', 'entry')
  if forgotten(record[1], record[3], record[5], attempt) then return 'forgotten' end
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
  if found == 'forgotten' then
    redis.call('HSETNX', job_key(redis.call('HGET', chunk_key(chunk), 'job')), 'started_at', stamp(now()))
  end
  if found == 'running' or found == 'forgotten' then
    local job = book(chunk, failed, reason, parts, result_ttl, record_ttl)
    changed[job] = true
    redis.call('HSET', chunk_key(chunk), 'booked', attempt, 'owner', worker, 'attempts', attempt)
    if reason == '' then send_end(job, parts) end
  end
  answer[#answer + 1] = found and 1 or 0
end

if rate > 0 then
  local before = tonumber(redis.call('HGET', COUNTERS, 'rate') or rate)
  redis.call('HSET', COUNTERS, 'rate', stamp(0.8 * before + 0.2 * rate))
end
for waiter, message in pairs(sent) do redis.call('PUBLISH', answers_key(waiter), table.concat(message)) end
tell(changed)
return answer
