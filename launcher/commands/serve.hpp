// One page over HTTP, to one reader at a time.
#pragma once

#include <functional>
#include <string>

namespace launcher::commands {

// GET /metrics at ADDRESS:PORT ("127.0.0.1:9177", "[::1]:9177") until a signal ends us. page(true): the reader takes OpenMetrics.
// Throws UsageError for an address that is none, std::system_error where it cannot be had.
void serve(const std::string& where, const std::function<std::string(bool openmetrics)>& page);

}  // namespace launcher::commands
