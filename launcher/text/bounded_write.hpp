// Writing to whoever may not read. The rule: never longer than the bound, whatever stands at the other end: a full pipe, a
// terminal that was stopped with Ctrl-S, a socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <string_view>

namespace launcher::inline text {

// How many bytes went. Fewer than given: the bound was there first, or the other end is gone (errno tells: EAGAIN, or what
// write(2) said).
std::size_t write_within(int fd, std::string_view bytes, std::chrono::milliseconds bound);

}  // namespace launcher::text
