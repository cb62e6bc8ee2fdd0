-- Deregisters a worker. What it holds and never began goes back: its lease ends now. The consumer goes only when nothing
-- is pending: deleting it would lose that work.
-- ARGV: worker, lease (s). Answers whether something is still pending for it.
local worker, lease = ARGV[1], ARGV[2]
local PAGE = 1000
redis.call('DEL', worker_key(worker))
redis.call('ZREM', WORKERS, worker)
local pending, after = {}, '-'
repeat
  local page = redis.call('XPENDING', STREAM, GROUP, after, '+', PAGE, worker)
  for _, entry in ipairs(page) do
    redis.call('XCLAIM', STREAM, GROUP, worker, 0, entry[1], 'IDLE', milliseconds(lease), 'JUSTID')
    pending, after = entry, '(' .. entry[1]
  end
until #page < PAGE
if #pending > 0 then return 1 end
redis.call('XGROUP', 'DELCONSUMER', STREAM, GROUP, worker)
return 0
