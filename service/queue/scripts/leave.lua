-- Deregisters a worker. Its consumer goes only when nothing is pending: deleting it would lose that work.
-- ARGV: worker. Answers what is still pending for it.
local worker = ARGV[1]
redis.call('DEL', worker_key(worker))
redis.call('ZREM', WORKERS, worker)
local pending = #redis.call('XPENDING', STREAM, GROUP, '-', '+', 1, worker)
if pending == 0 then redis.call('XGROUP', 'DELCONSUMER', STREAM, GROUP, worker) end
return pending
