-- Proves that a stream is whole whose end is the end of its connection, where a cut looks
-- the same: by what it says itself, one way or another. Where it does not, an error event
-- is put behind it, CUT, which stands in front of this script (errors.go).

local find, sub = string.find, string.sub

local LONGEST = 64 -- of what is looked for: it may come in two pieces

-- final says that a text has the end of a stream, or of an answer in it. Within a text of
-- the model's, line breaks and quotes are escaped.
local function final(text)
  return find(text, '[\r\n]data:%s*%[DONE%]') or find(text, '"finish_reason"%s*:%s*"%a')
    or find(text, '"type"%s*:%s*"response%.completed"') or find(text, '"type"%s*:%s*"response%.incomplete"')
    or find(text, '"type"%s*:%s*"response%.failed"')
    -- Of images and sound.
    or find(text, '"type"%s*:%s*"image_[%a]+%.completed"') or find(text, '"type"%s*:%s*"speech%.audio%.done"')
    or find(text, '"type"%s*:%s*"transcript%.text%.done"')
end

function envoy_on_response(handle)
  local headers = handle:headers()
  -- No model's; and nothing can be found in what is packed, or put behind it.
  if not headers:get("x-postern-attempts") or headers:get("content-encoding") then return end
  local seen, before = false, "\n"
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length == 0 then
      if not seen then
        handle:streamInfo():dynamicMetadata():set("postern.usage", "failed", "upstream_refused")
        chunk:setBytes(CUT)
      end
    elseif not seen then
      local text = before .. chunk:getBytes(0, length)
      seen = final(text)
      before = sub(text, -LONGEST)
    end
  end
end
