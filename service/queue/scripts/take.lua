-- Reads further new entries for a worker, never more than its batch has room for.
-- ARGV: worker, room in items. Answers the entries: {{id, {field, value, ...}}, ...}.
local worker, room = ARGV[1], tonumber(ARGV[2])
local PAGE = 64

local function last_delivered()
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', STREAM)) do
    local facts = {}
    for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
    if facts['name'] == GROUP then return facts['last-delivered-id'] end
  end
  return '0-0'
end

local taken = {}
local after = last_delivered()
while room > 0 do
  local waiting = redis.call('XRANGE', STREAM, '(' .. after, '+', 'COUNT', math.min(PAGE, room))
  local fitting = 0
  for _, entry in ipairs(waiting) do
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
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', fitting, 'STREAMS', STREAM, '>')
  for _, entry in ipairs(read[1][2]) do taken[#taken + 1] = entry end
  if #waiting < PAGE then break end
end
return taken
