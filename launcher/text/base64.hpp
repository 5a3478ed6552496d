// Base64, as systemd's credentials and the guest's agent have it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace launcher::inline text {

std::string base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);  // nullopt: it is none

}  // namespace launcher::text
