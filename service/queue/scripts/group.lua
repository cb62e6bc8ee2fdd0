-- Makes the stream and its group where they are missing. A script, since a full server refuses the bare command, also
-- when the group is there: a worker that starts then could never free the memory.
local made = redis.pcall('XGROUP', 'CREATE', STREAM, GROUP, '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return redis.error_reply(made.err) end
return 1
