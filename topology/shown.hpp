// Words of unknown origin in a message of this room: their start, printable.
#pragma once

#include <string>
#include <string_view>

namespace topology {

// At most 32 characters of it, "..." behind what was cut, '?' for what a terminal might take for more than a letter.
std::string shown(std::string_view text);

}  // namespace topology
