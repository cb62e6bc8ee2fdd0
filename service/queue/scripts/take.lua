-- Reads further new entries for a worker: its share of what waits, since others are free or soon will be, and never more
-- than its batch has room for.
-- ARGV: worker, room in items, entries it has read just now, only full (1: nothing at all unless it fills the room).
-- Answers the entries: {{id, {field, value, ...}}, ...}.
local worker, room, held, only_full = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
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

-- How many of them fit, up to a share, and whether they leave room for no other.
local function fitting(after, share)
  local count = 0
  while room > 0 and count < share do
    local asked = math.min(PAGE, room, share - count)
    local ahead = redis.call('XRANGE', STREAM, '(' .. after, '+', 'COUNT', asked)
    for _, entry in ipairs(ahead) do
      local fields = entry[2]
      local items
      for i = 1, #fields, 2 do
        if fields[i] == 'items' then items = tonumber(fields[i + 1]) end
      end
      if items > room then return count, true end
      room = room - items
      count = count + 1
      after = entry[1]
    end
    if #ahead < asked then break end
  end
  return count, room == 0
end

local after, waiting = waiting_behind()
local share = math.ceil((waiting + held) / math.max(1, redis.call('ZCARD', WORKERS))) - held
local count, full = fitting(after, share)
if count == 0 or (only_full and not full) then return {} end
return redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', count, 'STREAMS', STREAM, '>')[1][2]
