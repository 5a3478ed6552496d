// Where a VM's screen is, and the programs that can show it.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace launcher::inline guest {

// From a plan's record: "unix:/run/vmrun/db/display/vnc.sock", "127.0.0.1:5901".
std::optional<std::string> screen_of(const boost::json::value& plan);

struct Viewer {
  std::string program;
  std::vector<std::string> words;
  friend bool operator==(const Viewer&, const Viewer&) = default;
};
std::vector<Viewer> viewers(const std::string& screen);  // the best one first

}  // namespace launcher::guest
