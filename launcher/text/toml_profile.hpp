// A profile's defaults, below all that the document says.
#pragma once

#include <string>
#include <vector>

#include "launcher/text/toml_reader.hpp"

namespace launcher::inline text {

std::vector<std::string> profile_keys(const TomlDocument& document);  // those that the profile set

}  // namespace launcher::text
