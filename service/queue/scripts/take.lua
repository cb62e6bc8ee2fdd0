-- Reads further new entries for a worker: its share of what waits, since others are free or soon will be, and never more
-- than its batch has room for.
-- ARGV: worker, room in items, entries it has read just now. Answers the entries: {{id, {field, value, ...}}, ...}.
local worker, room, held = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local PAGE = 64

-- The id of the last entry that anybody was given, and how many are waiting behind it.
local function waiting_behind()
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', STREAM)) do
    local facts = {}
    for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
    if facts['name'] == GROUP then
      return facts['last-delivered-id'], redis.call('XLEN', STREAM) - facts['pending']
    end
  end
  return '0-0', 0
end

local taken = {}
local after, waiting = waiting_behind()
local share = math.ceil((waiting + held) / math.max(1, redis.call('ZCARD', WORKERS))) - held
while room > 0 and share > 0 do
  local asked = math.min(PAGE, room, share)
  local ahead = redis.call('XRANGE', STREAM, '(' .. after, '+', 'COUNT', asked)
  local fitting = 0
  for _, entry in ipairs(ahead) do
    local fields = entry[2]
    local items
    for i = 1, #fields, 2 do
      if fields[i] == 'items' then items = tonumber(fields[i + 1]) end
    end
    if items > room then room = 0 break end
    room = room - items
    fitting = fitting + 1
    after = entry[1]
  end
  if fitting == 0 then break end
  share = share - fitting
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', fitting, 'STREAMS', STREAM, '>')
  for _, entry in ipairs(read[1][2]) do taken[#taken + 1] = entry end
  if #ahead < asked then break end
end
return taken
