-- Reads the usage object of an answer, as text, into dynamic metadata, and takes the
-- chunk that holds it out of a stream whose client did not ask for it. Nothing else is
-- changed, and of a plain answer only the end is looked at: it is what tells the tokens.
-- reader/native/usage.c does the same where there is a C compiler: change both.

collectgarbage("setpause", 400)

local KEEP = 8192     -- bytes of an answer's end that are looked at
local LONGEST = 2048  -- a usage object that is longer is none
local LINE = 16384    -- a line of a stream that is longer holds none
local TRIED = 4       -- so many of the last usage objects are looked at

local find, sub, gsub, match, concat = string.find, string.sub, string.gsub, string.match, table.concat

-- outside says that what ends right before a place in an answer, or in a line of one,
-- stands where a provider says what it used: not in a list, and in no object but the
-- answer, or the event that holds it. What a client made up and a provider repeats (a
-- tool, a schema) stands deeper.
local function outside(text, at, stream)
  local stop = stream and find(text, "\n", at, true)
  local rest = gsub(gsub(sub(text, at, stop or -1), '\\.', ''), '"[^"]*"', '')
  if find(rest, '"', 1, true) then return false end
  local _, opened = gsub(rest, '{', '')
  local _, closed = gsub(rest, '}', '')
  local _, lists = gsub(rest, '%[', '')
  local _, ended = gsub(rest, '%]', '')
  return lists == ended and (closed - opened == 1 or stream and closed - opened == 2)
end

-- note keeps the last usage object of a text that stands where a provider puts it. Each
-- byte is looked at a few times at most, whatever the text is.
local function note(handle, text, stream)
  local at, all, n = 1, {}, 0
  while true do
    local from, to = find(text, '"usage"', at, true)
    if not from then break end
    local object = match(text, '^%s*:%s*(){', to + 1)
    if object then
      n = n + 1
      all[n % TRIED] = object
    end
    at = to + 1
  end
  for i = n, math.max(1, n - TRIED + 1), -1 do
    local begin = all[i % TRIED]
    local usage = match(sub(text, begin, begin + LONGEST - 1), '^%b{}')
    if usage and not find(usage, '[^%s -~]') and outside(text, begin + #usage, stream) then
      handle:streamInfo():dynamicMetadata():set("postern.usage", "raw", usage)
      return
    end
  end
end

-- tail keeps the end of an answer that goes by.
local function tail(handle, stream)
  local text, pieces, n, size = nil, nil, 0, 0
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length >= KEEP then
      text, n, size = chunk:getBytes(length - KEEP, KEEP), 0, KEEP
    elseif length > 0 then
      if not text then
        text = chunk:getBytes(0, length)
      else
        if n == 0 then
          pieces, n = pieces or {}, 1
          pieces[1] = text
        end
        n = n + 1
        pieces[n] = chunk:getBytes(0, length)
      end
      size = size + length
      if size > 2 * KEEP then
        text = sub(n > 0 and concat(pieces, "", 1, n) or text, -KEEP)
        n, size = 0, KEEP
      end
    end
  end
  if not text then return end
  if n > 0 then text = concat(pieces, "", 1, n) end
  note(handle, text, stream)
end

-- used says that a line of a stream tells the tokens. A list never does, see open.
local function used(line)
  return #line <= LINE and find(line, '"usage"', 1, true) and find(line, '^data:%s*[^%s%[]') and find(line, '"usage"%s*:%s*{')
end

-- open says that the beginning of a line may become one that is taken out. All others
-- need not wait for their end; nor does [DONE], maybe the last of all.
local function open(line, blank)
  if blank and line == "\r" then return true end
  if #line < 5 then return line == sub("data:", 1, #line) end
  return #line <= LINE and find(line, '^data:') and not find(line, '^data:%s*%[')
end

-- extra says that a line is the chunk that a stream has only because usage was asked.
local function extra(line) return find(line, '"choices"%s*:%s*%[%s*%]') end

-- whole says that the beginning of a line is one JSON object: its line break may come
-- later, or not at all.
local function whole(line)
  if not find(line, '}%s*$') then return false end
  local bare = gsub(gsub(line, '\\.', ''), '"[^"]*"', '')
  return not find(bare, '"', 1, true) and find(bare, '^data:%s*%b{}%s*$')
end

-- strip is tail for a stream, line by line. What is held back is a short line that has
-- not ended, which no client can use yet. The end of an HTTP/2 answer may come with its
-- last bytes, and then nothing can be added behind them: a line that breaks off in the
-- middle of an object is lost there.
local function strip(handle)
  local held, blank, inside = "", false, false -- inside: the line's beginning went by
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 then
      local text = held .. chunk:getBytes(0, length)
      local out, n, at = {}, 0, 1
      while true do
        local stop = find(text, "\n", at, true)
        if not stop then break end
        local line, keep = sub(text, at, stop), true
        if inside then
          inside, blank = false, false
        elseif blank and (line == "\n" or line == "\r\n") then
          keep, blank = false, false -- the end of the event that was taken out
        else
          blank = false
          if used(line) then
            note(handle, line, true)
            if extra(line) then keep, blank = false, true end
          end
        end
        if keep then
          n = n + 1
          out[n] = line
        end
        at = stop + 1
      end
      held = sub(text, at)
      local all = held ~= "" and not inside and #held <= LINE and whole(held)
      if all and used(held) then note(handle, held, true) end
      if held ~= "" and (inside or not open(held, blank) or all and not (used(held) and extra(held))) then
        n, inside = n + 1, true
        out[n] = held
        held = ""
      end
      chunk:setBytes(concat(out, "", 1, n))
    elseif held ~= "" then -- the end, and what was held back is the last line
      chunk:setBytes(held)
      held = ""
    end
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local kind = headers:get("content-type")
  if not kind then return end
  local stream = find(kind, "event-stream", 1, true)
  if not stream and not find(kind, "json", 1, true) then return end
  if headers:get(":status") ~= "200" or headers:get("content-encoding") then return end
  if stream then
    local request = handle:streamInfo():dynamicMetadata():get("postern.request")
    if request and request["strip"] then
      headers:remove("content-length") -- it may become shorter
      return strip(handle)
    end
  end
  tail(handle, stream)
end
